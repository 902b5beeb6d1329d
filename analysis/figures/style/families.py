"""One color and one marker for each family of networks, the same on every figure, on the screen and on paper."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class FamilyStyle(NamedTuple):
    """The style of a family."""

    color: str
    marker: str  # Matplotlib's
    symbol: str  # Plotly's


# Okabe and Ito's colors, safe for color blindness, for the families compared most; then Tol's muted colors.
_COLORS = ("#D55E00", "#0072B2", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#882255", "#332288", "#999933", "#888888")
_MARKERS = (("s", "square"), ("o", "circle"), ("D", "diamond"), ("^", "triangle-up"), ("v", "triangle-down"))
_FIRST = (
    "DenseNet-BC",
    "ResNet",
    "DenseNet",
    "ResNet (pre-activation)",
    "Wide ResNet",
    "DenseNet-B",
    "DenseNet-C",
    "FractalNet",
    "ResNet with stochastic depth",
    "ResNeXt",
    "Highway Network",
    "Deeply Supervised Net",
    "Plain network",
)


def family_styles(families: Iterable[str]) -> dict[str, FamilyStyle]:
    """Return the styles of families: fixed for the known ones, cycled for the others; the first 50 all differ."""
    others = sorted(set(families) - set(_FIRST))
    order = {family: place for place, family in enumerate([*_FIRST, *others])}
    return {family: _style(order[family]) for family in dict.fromkeys(families)}


def _style(place: int) -> FamilyStyle:
    rounds, color = divmod(place, len(_COLORS))
    return FamilyStyle(_COLORS[color], *_MARKERS[(place + rounds) % len(_MARKERS)])
