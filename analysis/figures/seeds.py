"""Feature reuse of networks of several seeds: mean and standard deviation of every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.figures.style.blocks import Colors, Row, blocks_figure, measure_colors
from analysis.figures.style.blocks_screen import blocks_screen
from analysis.figures.style.heatmap import ColorMap
from analysis.reuse.measures import DEFAULT
from analysis.reuse.scaling import Scaling, default_scaling
from analysis.words import Phrase

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

COLUMNS = ["block", "source_layer", "target_layer", "mean", "std", "low", "high", "spread", "noise", "p_value"]
HOVER = Phrase(
    "figures.seeds_hover",
    "<b>block %{customdata[0]}: source %{customdata[1]} → target %{customdata[2]}</b><br>"
    "mean %{customdata[3]:.3f}, standard deviation %{customdata[4]:.3f}<br>"
    "from %{customdata[5]:.3f} to %{customdata[6]:.3f}<br>"
    "relative spread %{customdata[7]:.3f}, untrained %{customdata[8]:.3f} (p = %{customdata[9]:.2g})<extra></extra>",
)

MEAN = Phrase("figures.mean_of_networks", "mean")
STANDARD_DEVIATION = Phrase("figures.standard_deviation", "standard deviation")


def seeds_screen(
    table: pd.DataFrame,
    measure: str = DEFAULT,
    scaling: Scaling | None = None,
    color_map: ColorMap = "viridis",
    only: int | None = None,
) -> go.Figure:
    """Draw the mean of every cell over the networks, and the standard deviation below it.

    A dot marks the cells that do not differ by more than untrained networks.

    Args:
        table: as from ``seed_statistics`` of the same measure and scaling.
        only: draw this block alone; the color bar is the last block's.
    """
    return blocks_screen(table, _rows(table, measure, scaling, color_map), table[COLUMNS], HOVER, only=only)


def seeds_figure(
    table: pd.DataFrame,
    measure: str = DEFAULT,
    scaling: Scaling | None = None,
    color_map: ColorMap = "viridis",
    columns: int = 2,
) -> Figure:
    """Draw mean and standard deviation for a paper."""
    words = f"Over {table.attrs['num_networks']} networks. Dots: no more difference than between untrained networks."
    return blocks_figure(table, _rows(table, measure, scaling, color_map), columns, words)


def _rows(table: pd.DataFrame, measure: str, scaling: Scaling | None, color_map: ColorMap) -> list[Row]:
    scaling = default_scaling(measure) if scaling is None else scaling
    mean = measure_colors(table["mean"], measure, scaling, color_map)
    std = Colors(STANDARD_DEVIATION, 0.0, float(table["std"].max()) or 1.0, color_map)
    return [
        Row(table["mean"], mean, MEAN),
        Row(table["std"], std, STANDARD_DEVIATION, dotted=~table["differs"].fillna(True)),
    ]
