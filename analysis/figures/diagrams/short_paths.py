"""The tables of ``analysis.architecture.short_paths``, for paper and for the screen: siblings of Figure 5."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from plotly.subplots import make_subplots

from analysis.figures.style.heatmap import ColorMap, block_matrix, check_color_map, highlighted_targets, ticks
from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE, draw_block, draw_colors, highlight, panels, write_caption
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import layout
from analysis.figures.style.words import PROBABILITY, SOURCE_LAYER, TARGET_LAYER, number_block
from analysis.words import Phrase

# measure -> (title of the colors, caption of the figure)
MEASURES = {
    "probability": (
        PROBABILITY,
        "Color: probability that the target reads the source's output itself, in a training step.",
    ),
    "share_carried": (
        Phrase("figures.input_share", "share of the input"),
        "Color: share of the source's output in the target's input, mean over images, feature maps and pixels.",
    ),
    "share_in_join": (
        Phrase("figures.join_share", "share in the join"),
        "Color: share of the convolution from source to target in the mean that joins the columns there.",
    ),
}
GATE_COLOR = "#0072B2"


def short_paths_figure(table: pd.DataFrame, measure: str = "probability", color_map: ColorMap = "viridis") -> Figure:
    """Draw a heatmap per block, source layer down, target layer across, and a row per network; two columns wide.

    Args:
        table: as returned by ``direct_connections``, ``carried_shares`` or ``fractal_connections``, or several of one
            kind concatenated, of networks with the same number of blocks.
        measure: probability, share_carried or share_in_join: the table's own column.

    Raises:
        ValueError: an option is unknown, the table has no such measure, or the networks' numbers of blocks differ.
    """
    _check(table, measure)
    check_color_map(color_map)
    networks = list(dict.fromkeys(table["network"]))
    numbers = {network: table.loc[table["network"] == network, "block"].nunique() for network in networks}
    if len(set(numbers.values())) > 1:
        raise ValueError(f"the networks have different numbers of blocks ({numbers}): draw them separately")
    blocks = [(network, block) for network in networks for block in range(1, numbers[network] + 1)]
    title, text = MEASURES[measure]
    with mpl.rc_context(fname=STYLE):
        figure, axes, bar_axes = panels(len(blocks), 2, numbers[networks[0]], top=0.4)
        for ax, (network, block) in zip(axes, blocks, strict=True):
            own = table[(table["network"] == network) & (table["block"] == block)]
            draw_block(ax, block_matrix(own, own[measure], block), number_block(block), vmin=0, vmax=1, cmap=color_map)
            if block == 1:
                ax.annotate(network, (0, 1), (0, 17), xycoords="axes fraction", textcoords="offset points", fontsize=8)
            highlight(ax, highlighted_targets(own, block))
        draw_colors(bar_axes, title, 0, 1, color_map)
        write_caption(figure, f"{text} Source 0: the block's input.")
    return figure


def short_paths_screen(table: pd.DataFrame, measure: str = "probability") -> go.Figure:
    """Draw the heatmaps of one network for the screen, side by side, with each cell's value on hover.

    Args:
        table, measure: as for ``short_paths_figure``.

    Raises:
        ValueError: the table has no such measure.
    """
    _check(table, measure)
    blocks = sorted(table["block"].unique())
    figure = make_subplots(
        1, len(blocks), subplot_titles=[number_block(block) for block in blocks], horizontal_spacing=0.2 / len(blocks)
    )
    title = MEASURES[measure][0]
    hover = Phrase("figures.path_hover", "source %{y} → target %{x}<br>{value}: %{z:.3g}<extra></extra>", value=title)
    for column, block in enumerate(blocks, start=1):
        matrix = block_matrix(table, table[measure], int(block))
        size = len(matrix)
        cells = go.Heatmap(z=matrix, x=np.arange(1, size + 1), coloraxis="coloraxis", hoverongaps=False)
        figure.add_trace(cells.update(hovertemplate=hover, xgap=0.5, ygap=0.5), 1, column)
        axis = {"showgrid": False, "zeroline": False, "ticks": "outside", "ticklen": 3}
        figure.update_xaxes(axis | {"tickvals": ticks(size, 1, most=5), "tickangle": 0}, row=1, col=column)
        figure.update_yaxes(axis | {"tickvals": ticks(size - 1), "autorange": "reversed"}, row=1, col=column)
        if column > 1 and size == len(figure.data[0].z):  # the same as the first block's, which are at its left
            figure.update_yaxes(showticklabels=False, row=1, col=column)
        for target in highlighted_targets(table, int(block)):
            frame = {"x0": target - 0.5, "x1": target + 0.5, "y0": -0.5, "y1": size - 0.5}
            figure.add_shape(type="rect", **frame, line={"color": "black", "width": 1.5}, row=1, col=column)
    title_paths(figure, TARGET_LAYER, SOURCE_LAYER)
    bar = {"title": {"text": title, "side": "right"}, "thickness": 10, "outlinewidth": 0}
    colors = {"colorscale": "Viridis", "cmin": 0, "cmax": 1, "colorbar": bar}
    return figure.update_layout(**layout(height=270), coloraxis=colors, dragmode=False).update_annotations(font_size=13)


def title_paths(figure: go.Figure, target: str, source: str) -> None:
    """Name the axes of ``short_paths_screen`` once for all blocks: on a phone they are narrower than the names."""
    figure.update_xaxes(title=target, row=1, col=(len(figure.data) + 1) // 2)
    figure.update_yaxes(title=source, row=1, col=1)


def _check(table: pd.DataFrame, measure: str) -> None:
    if measure not in MEASURES or measure not in table:
        raise ValueError(f"measure {measure!r} is not a column of the table: choose from {', '.join(MEASURES)}")


def gates_screen(table: pd.DataFrame) -> go.Figure:
    """Draw how open each layer's gate is, for the screen: the table of ``transform_gates``."""
    place = np.arange(1, len(table) + 1)
    bars = go.Bar(x=place, y=table["mean_gate"], marker={"color": GATE_COLOR}, customdata=table["name"])
    figure = go.Figure(bars.update(hovertemplate="%{customdata}: %{y:.3f}<extra></extra>"))
    for first in table.reset_index(drop=True).groupby("block").head(1).index[1:]:
        figure.add_vline(first + 0.5, line={"color": "#888888", "width": 1, "dash": "dot"})  # a stage begins
    figure.update_layout(**layout(height=270), bargap=0.3)
    figure.update_xaxes(title=Phrase("figures.gated_layer", "layer with a gate"), tickvals=ticks(len(table), 1))
    title = Phrase("figures.mean_gate", "mean of T(x)")
    return figure.update_yaxes(title=title, range=[0, 1])


def gates_figure(table: pd.DataFrame, columns: int = 1) -> Figure:
    """Draw how open each layer's gate is, by layer: the table of ``transform_gates``.

    Raises:
        ValueError: ``columns`` is neither 1 nor 2.
    """
    if columns not in COLUMN_WIDTHS:
        raise ValueError(f"columns {columns} is neither 1 nor 2")
    with mpl.rc_context(fname=STYLE):
        figure = PaperFigure(figsize=(COLUMN_WIDTHS[columns], 1.7), layout="constrained")
        ax = figure.add_subplot()
        place = range(1, len(table) + 1)
        ax.bar(place, table["mean_gate"], color=GATE_COLOR, width=0.7)
        for first in table.reset_index(drop=True).groupby("block").head(1).index[1:]:
            ax.axvline(first + 0.5, color="#888888", linewidth=0.5, linestyle=":")  # a stage begins
        ax.set(xlim=(0.4, len(table) + 0.6), ylim=(0, 1), xlabel="Layer with a gate", ylabel="Mean of T(x)")
        ax.set_title(", ".join(table["network"].unique()))
        ax.spines[["top", "right"]].set_visible(False)
    return figure
