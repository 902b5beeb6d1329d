"""Names beside points: none over another name or another point, none cut by the figure's edge."""

from __future__ import annotations

import itertools
import random

import pytest

from analysis.figures.style import point_names
from analysis.figures.style.point_names import HEIGHT, LETTER, LINE, PADDING, PLACES, WIDTH, place_names


def corners(x: float, y: float, name: str, place: str) -> tuple[float, float, float, float]:
    """Return left, right, bottom, top of a name in pixels from the plot's lower left corner, by Plotly's words."""
    vertical, horizontal = place.split(" ")
    width, gap = LETTER * len(name), point_names.RADIUS / 2
    left = {"right": x, "left": x - width, "center": x - width / 2}[horizontal]
    bottom = {"top": y, "bottom": y - LINE, "middle": y - LINE / 2}[vertical]
    left += {"right": gap, "left": -gap, "center": 0}[horizontal] * (2 if vertical == "middle" else 1)
    bottom += {"top": gap, "bottom": -gap, "middle": 0}[vertical] * (2 if horizontal == "center" else 1)
    return left, left + width, bottom, bottom + LINE


@pytest.mark.parametrize("seed", range(5))
def test_no_name_is_over_another_or_over_a_point(seed: int) -> None:
    chance = random.Random(seed)
    x, y = ([0.0, 1.0, *(chance.random() for _ in range(10))] for _ in "xy")
    names = ["DenseNet-BC (L=40, k=12)"[: chance.randint(5, 24)] for _ in x]
    places = place_names(x, y, names)
    at = [
        (WIDTH * (PADDING + (1 - 2 * PADDING) * a), HEIGHT * (PADDING + (1 - 2 * PADDING) * b))
        for a, b in zip(x, y, strict=True)
    ]
    boxes = {i: corners(*at[i], names[i], place) for i, place in enumerate(places) if place is not None}
    assert len(boxes) > len(names) / 2  # it leaves out few
    for (left, right, bottom, top), (other_left, other_right, other_bottom, other_top) in itertools.combinations(
        boxes.values(), 2
    ):
        assert right <= other_left or other_right <= left or top <= other_bottom or other_top <= bottom
    for number, (left, right, bottom, top) in boxes.items():
        assert left >= 0 and right <= WIDTH and bottom >= 0 and top <= HEIGHT
        others = [point for i, point in enumerate(at) if i != number]
        assert not any(left < a < right and bottom < b < top for a, b in others)


def test_a_name_without_room_is_left_out() -> None:
    assert None in place_names([0.5] * 10, [0.5] * 10, ["a name"] * 10)
    assert set(place_names([0.5], [0.5], ["a"])) <= set(PLACES)


def test_a_name_avoids_the_line_between_points() -> None:
    """A line that rises to the right would go through a name at the top right."""
    x, y, names = [0.0, 0.5, 1.0], [0.0, 0.5, 1.0], ["", "a name in the middle", ""]
    assert place_names(x, y, names)[1] == "top right"
    assert place_names(x, y, names, lines=(0, 1, 2))[1] in ("top left", "bottom right")
