"""Shared parts of the heatmaps for screen and paper: matrices, ticks, colors, titles."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd

from analysis.figures.style.words import SCALED_TITLES, divide, number_dense_block
from analysis.reuse.measures import measure_title
from analysis.reuse.scaling import SCALING_TITLES, Scaling, is_diverging
from analysis.words import Phrase

ColorMap = Literal["jet", "viridis", "cividis"]
DIVERGING = "RdBu_r"  # for measures with a sign: blue below 0, white at 0, red above; Matplotlib's and Plotly's name
COLOR_MAPS: tuple[ColorMap, ...] = get_args(ColorMap)  # jet: the paper's look; the others are perceptually uniform

HIGHLIGHTED = ("transition", "classifier")  # the columns in black rectangles


def block_matrix(table: pd.DataFrame, values: pd.Series, block: int) -> np.ndarray:
    """Return one block's values as (n+1, n+1): source layer down, target layer across; nan without a connection."""
    rows = table["block"] == block
    size = int(table.loc[rows, "target_layer"].max())
    matrix = np.full((size, size), np.nan)
    matrix[table.loc[rows, "source_layer"], table.loc[rows, "target_layer"] - 1] = values[rows]
    return matrix


def block_title(table: pd.DataFrame, block: int) -> str:
    """Return a block's title: a dense block has layers that read it and append to it."""
    is_dense = (table.loc[table["block"] == block, "target_kind"] == "dense_layer").any()
    if is_dense:
        return number_dense_block(block)
    return Phrase("figures.concatenation", "Concatenation {block}", block=block)


def highlighted_targets(table: pd.DataFrame, block: int) -> dict[int, str]:
    """Return the columns of a block's heatmap that get a black rectangle, and what each is: a kind of target."""
    targets = table[(table["block"] == block) & table["target_kind"].isin(HIGHLIGHTED)]
    return {
        int(layer): str(kind)
        for layer, kind in sorted(set(zip(targets["target_layer"], targets["target_kind"], strict=True)))
    }


def ticks(last: int, first: int = 0, most: int = 7) -> list[int]:
    """Return whole numbers from ``first`` to ``last``, at most about ``most`` of them, a round step apart."""
    step = next(s for s in (1, 2, 3, 4, 5, 8, 10, 16, 20, 32, 50, 100, last + 1) if (last - first) / s < most)
    return list(range(first, last + 1, step))


def color_title(measure: str, scaling: Scaling) -> str:
    """Return what the colors show, such as "mean |w| / block's maximum"."""
    title = measure_title(measure)
    return title if scaling == "none" else divide(title, SCALED_TITLES[scaling])


def caption(measure: str, scaling: Scaling, line_break: str = " ") -> str:
    """Return the line under the figure that names the measure, the scaling and the rectangles."""
    title = measure_title(measure)
    return f"Color: {title}, {SCALING_TITLES[scaling]}.{line_break}Source 0: the block's input."


def check_color_map(color_map: str) -> None:
    """Raise ValueError if ``color_map`` is not one of ``COLOR_MAPS``."""
    if color_map not in COLOR_MAPS:
        raise ValueError(f"color_map {color_map!r} is unknown: choose from {', '.join(COLOR_MAPS)}")


def color_map_name(color_map: ColorMap, measure: str, scaling: Scaling) -> str:
    """Return Matplotlib's name of the color map: the diverging one where values below 0 have a meaning."""
    check_color_map(color_map)
    return DIVERGING if is_diverging(measure, scaling) else color_map
