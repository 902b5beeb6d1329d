"""The interactive pictures of the Notes page: channel growth, costs of designs, preservation, learning rates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.architecture.architecture import block_connections, block_layers
from analysis.architecture.bottlenecks import DESIGNS
from analysis.architecture.preservation import OPERATIONS, Operation
from analysis.figures.diagrams.dense_block import source_colors
from analysis.figures.style.heatmap import ticks
from analysis.figures.style.screen import ACCENT, LEGEND, layout
from analysis.figures.style.words import EPOCH
from analysis.words import VALUE_TITLES, Phrase
from densenet_core import DenseNetSpec

LAYER_COLORS = {"conv1": "#0072B2", "conv2": "#56B4E9", "conv3": "#009E73"}
NORM_COLOR = "#9ca3af"
UNITS = (("G", 1e9), ("M", 1e6), ("K", 1e3))
COST_TITLES = {
    "params": Phrase("cost_axes.params", "parameters"),
    "mult_adds": Phrase("figures.mult_adds_per_image", "mult_adds, one image"),
}


def channel_growth_screen(spec: DenseNetSpec, block: int = 1) -> go.Figure:
    """Draw how many feature maps each layer of a block reads, stacked by their sources."""
    connections, last = block_connections(spec, block), spec.block_config[block - 1] + 1
    figure = go.Figure()
    for source, color in enumerate(source_colors(last)):
        rows = connections[connections["source_layer"] == source]
        bars = go.Bar(x=rows["target_layer"], y=rows["num_channels"], marker={"color": color, "line": {"width": 0}})
        bars.update(customdata=rows["source_layer"], hovertemplate=_GROWTH_HOVER)
        figure.add_trace(bars)
    reads = block_layers(spec, block).iloc[1:]
    if last <= 24:
        numbers = {"x": reads["layer"], "y": reads["input_maps"], "text": reads["input_maps"], "mode": "text"}
        figure.add_trace(go.Scatter(**numbers, textposition="top center", hoverinfo="skip", cliponaxis=False))
    figure.update_layout(**layout(height=300), barmode="stack", bargap=0.2)
    figure.update_xaxes(title=_LAYER_TO_END, tickvals=ticks(last, 1))
    return figure.update_yaxes(title=_MAPS_READ, nticks=6)


_LAYER_TO_END = Phrase("figures.layer_to_end", "layer (the last: what follows the block)")
_MAPS_READ = Phrase("figures.maps_read", "feature maps read")
_GROWTH_HOVER = Phrase(
    "figures.growth_hover", "layer %{x} reads %{y} feature maps of source %{customdata}<extra></extra>"
)


def design_costs_screen(costs: pd.DataFrame) -> go.Figure:
    """Draw parameters and mult_adds of the four designs as bars, stacked by layer.

    Args:
        costs: as returned by ``design_costs``.
    """
    figure = make_subplots(2, 1, vertical_spacing=0.2)  # one below the other: on a phone too
    for row, quantity in enumerate(COST_TITLES, start=1):
        for layer, rows in costs.groupby("layer", sort=False):
            bars = go.Bar(x=rows[quantity], y=rows["design"], orientation="h", name=str(layer))
            bars.update(marker={"color": LAYER_COLORS.get(str(layer), NORM_COLOR)}, hovertemplate=_COST_HOVER)
            bars.update(customdata=np.column_stack([rows["layer"], rows["out_maps"]]))
            bars.update(showlegend=row == 1 and str(layer) in LAYER_COLORS)
            figure.add_trace(bars, row, 1)
        totals = costs.groupby("design", sort=False)[quantity].sum()
        unit, size = _unit(totals.max())
        texts = [f" {total / size:.3g}{unit}" for total in totals]
        words = {"x": totals, "y": totals.index, "text": texts, "mode": "text"}
        figure.add_trace(go.Scatter(**words, textposition="middle right", hoverinfo="skip", showlegend=False), row, 1)
        places = _round_places(1.3 * totals.max())
        axis = {"title": COST_TITLES[quantity], "range": [0, 1.3 * totals.max()], "tickvals": places}
        axis["ticktext"] = [f"{place / size:g}{unit}" if place else "0" for place in places]
        figure.update_xaxes(axis, row=row, col=1)
    figure.update_layout(**layout(height=470), barmode="stack", bargap=0.35)
    figure.update_layout(
        margin={"l": 128, "t": 8},
        showlegend=True,
        legend=LEGEND | {"traceorder": "normal"},
    )
    return figure.update_yaxes(categoryorder="array", categoryarray=DESIGNS[::-1], ticklabelstandoff=6)


def _unit(largest: float) -> tuple[str, float]:
    """Return the unit of an axis and of all numbers on it, by the largest of them: none, K, M or G, and its size."""
    return next(((unit, size) for unit, size in UNITS if largest >= size), ("", 1.0))


def _round_places(top: float) -> list[float]:
    """Return three to six round places from 0 to below ``top``."""
    power = 10.0 ** np.floor(np.log10(top / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if top / (power * factor) < 6)
    return [float(place) for place in np.arange(0, top, step)]


_COST_HOVER = Phrase(
    "figures.bottleneck_hover", "%{y}, %{customdata[0]}: %{x:,}<br>outputs %{customdata[1]} feature maps<extra></extra>"
)


def preservation_screen(first_map: dict[Operation, np.ndarray]) -> go.Figure:
    """Draw the input's first feature map before each layer and at the end, one row per operation.

    Args:
        first_map: as returned by ``compare_preservation``.
    """
    steps = len(first_map["concatenation"])
    after = [Phrase("figures.after_layer", "after layer {layer}", layer=layer) for layer in range(1, steps)]
    titles = [Phrase("figures.the_input", "the input"), *after]
    figure = make_subplots(2, steps, subplot_titles=titles, horizontal_spacing=0.012, vertical_spacing=0.05)
    low, high = (float(bound(first_map["concatenation"])) for bound in (np.min, np.max))
    for row, operation in enumerate(OPERATIONS, start=1):
        for step, values in enumerate(first_map[operation], start=1):
            heatmap = go.Heatmap(z=values, zmin=low, zmax=high, colorscale="Greys", showscale=False)
            figure.add_trace(heatmap.update(hovertemplate="%{z:.3f}<extra></extra>"), row, step)
            figure.update_yaxes(scaleanchor=f"x{(row - 1) * steps + step}", row=row, col=step)  # square pixels
        figure.update_yaxes(title=VALUE_TITLES["operation"][operation], row=row, col=1)
    figure.update_layout(**layout(height=330), dragmode=False)
    figure.update_layout(margin={"l": 32, "r": 4, "t": 26, "b": 4})
    figure.update_annotations(font={"size": 12})
    bare = {
        "showticklabels": False,
        "ticks": "",
        "showgrid": False,
        "zeroline": False,
        "constrain": "domain",
    }
    return figure.update_xaxes(bare).update_yaxes(bare | {"autorange": "reversed"})


def learning_rate_screen(rates: pd.DataFrame) -> go.Figure:
    """Draw a recipe's learning rate over its epochs.

    Args:
        rates: as returned by ``learning_rates``.
    """
    line = {"color": ACCENT, "width": 2, "shape": "hv"}
    hover = Phrase("figures.learning_rate_hover", "epoch %{x}: %{y:.3g}<extra></extra>")
    figure = go.Figure(go.Scatter(x=rates["epoch"], y=rates["learning_rate"], line=line, hovertemplate=hover))
    figure.update_layout(**layout(height=240))
    figure.update_xaxes(title=EPOCH, zeroline=False)
    title = Phrase("figures.learning_rate", "learning rate")
    return figure.update_yaxes(title=title, type="log", dtick=1)
