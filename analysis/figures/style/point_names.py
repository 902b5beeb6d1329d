"""Places for the names of points: beside their points, over no other name and no other point.

A name without room is left out; hovering shows it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 440.0, 340.0  # pixels of a plot on a screen 1000 pixels wide; on a wider one there is more room
LETTER, LINE = 6.2, 14.0  # pixels of a name
RADIUS = 8.0  # of a point, with some room
PADDING = 0.06  # of the axes, beyond the outermost points: a share of their range

PLACES = {  # Plotly's names -> where the name's box begins, in its widths and heights, and in radii of the point
    "top right": (0.0, -1.0, 0.5, -0.5),
    "bottom left": (-1.0, 0.0, -0.5, 0.5),
    "top left": (-1.0, -1.0, -0.5, -0.5),
    "bottom right": (0.0, 0.0, 0.5, 0.5),
    "top center": (-0.5, -1.0, 0.0, -1.0),
    "bottom center": (-0.5, 0.0, 0.0, 1.0),
    "middle right": (0.0, -0.5, 1.0, 0.0),
    "middle left": (-1.0, -0.5, -1.0, 0.0),
}


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    @property
    def is_inside(self) -> bool:
        return self.left >= 0 and self.right <= WIDTH and self.top >= 0 and self.bottom <= HEIGHT


def place_names(
    x: Sequence[float], y: Sequence[float], names: Sequence[str], lines: Sequence[int] = ()
) -> list[str | None]:
    """Return a place for each point's name, one of ``PLACES``; None where the name has no room.

    Args:
        x: across, on the figure's scale: logarithms where its axis is logarithmic.
        y: upward.
        names: in one line each.
        lines: points that a line joins, from left to right; names avoid it where they can.

    >>> place_names([0, 0, 10], [0, 0.1, 10], ["first", "second", "third"])
    ['top right', 'bottom right', 'bottom left']
    """
    across = [PADDING * WIDTH + share * (1 - 2 * PADDING) * WIDTH for share in _shares(x)]
    down = [HEIGHT - PADDING * HEIGHT - share * (1 - 2 * PADDING) * HEIGHT for share in _shares(y)]
    points = [
        _Box(a - RADIUS / 2, b - RADIUS / 2, a + RADIUS / 2, b + RADIUS / 2) for a, b in zip(across, down, strict=True)
    ]
    taken: list[_Box] = []
    avoided = _boxes_along([(across[i], down[i]) for i in lines])
    places: list[str | None] = []
    for number, name in enumerate(names):
        obstacles = [*taken, *points[:number], *points[number + 1 :]]
        boxes = {place: _box(across[number], down[number], name, place) for place in PLACES}
        free = {p: box for p, box in boxes.items() if box.is_inside and not any(map(box.meets, obstacles))}
        place = min(free, key=lambda p: sum(map(free[p].meets, avoided)), default=None)
        places.append(place)
        if place is not None:
            taken.append(free[place])
    return places


def _shares(values: Sequence[float]) -> list[float]:
    """Return where values lie between the smallest and the largest, from 0 to 1."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [(value - low) / (high - low) if high > low else 0.5 for value in values]


def _box(x: float, y: float, name: str, place: str) -> _Box:
    width, height = LETTER * len(name), LINE
    widths, heights, radii_across, radii_down = PLACES[place]
    left, top = x + widths * width + radii_across * RADIUS, y + heights * height + radii_down * RADIUS
    return _Box(left, top, left + width, top + height)


def _boxes_along(corners: Sequence[tuple[float, float]], step: float = 12.0) -> list[_Box]:
    """Return small boxes along a line."""
    boxes = []
    for (a, b), (c, d) in itertools.pairwise(corners):
        count = max(1, math.ceil(math.hypot(c - a, d - b) / step))
        for i in range(1, count):
            u, v = a + (c - a) * i / count, b + (d - b) * i / count
            boxes.append(_Box(u - 1, v - 1, u + 1, v + 1))
    return boxes
