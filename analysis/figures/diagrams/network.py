"""A whole DenseNet as a chain of blocks and transitions, the paper's Figure 2 drawn from a spec: paper and screen."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from analysis.architecture.architecture import block_connections, network_stages
from analysis.architecture.cost import default_input_size
from analysis.figures.diagrams.arcs import arc, arc_collection, arc_line
from analysis.figures.style.paper import COLUMN_WIDTHS, STYLE
from analysis.figures.style.paper_figure import PaperFigure
from analysis.figures.style.screen import INK, MUTED, layout
from analysis.figures.style.words import number_dense_block, stage_title
from analysis.words import Phrase
from densenet_core import DenseNetSpec
from densenet_core.networks.layers import network_layers

FILLS = {"stem": "#eceff3", "block": "#dbeafe", "transition": "#fde9d0", "head": "#eceff3"}
EDGES = {"stem": "#7a8494", "block": "#2563eb", "transition": "#c2710c", "head": "#7a8494"}
HEIGHT = 1.0  # inches, of the stage of the largest feature maps
NARROW, ARROW, MIN_BLOCK = 0.28, 0.28, 0.56  # inches
KERNEL_WORDS = {"conv": "conv", "max_pool": "max pool", "avg_pool": "avg pool"}
WORDS = {"global_pool": "global\navg pool", "linear": "linear"}
_HOVER = Phrase(
    "figures.network_hover",
    "<b>%{customdata[0]}</b><br>feature maps: %{customdata[1]} → %{customdata[2]}<br>"
    "pixels a side: %{customdata[3]} → %{customdata[4]}<extra></extra>",
)


class Box(NamedTuple):
    """One stage as it is drawn, in inches; all boxes are centered on the line y = 0."""

    stage: str
    kind: str
    left: float
    right: float
    height: float
    content: str  # its operations, one per line
    block: int  # 1-based; 0 of stem and head
    num_layers: int
    in_maps: int
    out_maps: int
    in_size: int
    out_size: int

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2


def network_figure(spec: DenseNetSpec, input_size: int | None = None) -> Figure:
    """Draw blocks and transitions with the numbers of feature maps between them and their sizes, two columns wide.

    The height of a box is proportional to the square root of its feature maps' size; an arrow shows their number. A
    network with many blocks makes a wider figure.

    Args:
        input_size: pixels a side of the image; by default the network's own size.

    Raises:
        ValueError: the input is too small for the network; the message names the smallest size that works.
    """
    boxes = stage_boxes(spec, input_size)
    width = boxes[-1].right + ARROW + 0.1
    with mpl.rc_context(fname=STYLE):
        figure = PaperFigure(figsize=(width, HEIGHT + 0.95))
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set(xlim=(0, width), ylim=(-HEIGHT / 2 - 0.72, HEIGHT / 2 + 0.23))
        ax.axis("off")
        for box in boxes:
            _draw_box(ax, spec, box)
        for x, maps in _arrows(boxes):
            arrow = {"arrowstyle": "-|>", "linewidth": 0.6, "mutation_scale": 5, "shrinkA": 0, "shrinkB": 0}
            ax.annotate("", (x + ARROW - 0.03, 0), (x + 0.03, 0), arrowprops=arrow | {"color": "#333333"})
            ax.text(x + ARROW / 2, 0.05, str(maps), ha="center", va="bottom", fontsize=6)
        text = f"{spec.title}, image of {boxes[0].in_size} × {boxes[0].in_size} pixels; on the arrows: feature maps"
        ax.text(width / 2, -HEIGHT / 2 - 0.68, text, ha="center", va="bottom", fontsize=6, color="#333333")
    return figure


def _draw_box(ax: Axes, spec: DenseNetSpec, box: Box) -> None:
    shape = "round,pad=0,rounding_size=0.04"
    frame = FancyBboxPatch((box.left, -box.height / 2), box.right - box.left, box.height, boxstyle=shape)
    frame.set(facecolor=FILLS[box.kind], edgecolor=EDGES[box.kind], linewidth=0.7)
    frame.set_label(box.stage)
    ax.add_patch(frame)
    if box.kind == "block":
        ax.text(box.middle, HEIGHT / 2 + 0.07, number_dense_block(box.block), ha="center", va="bottom", fontsize=7)
        arcs = arc_collection(block_arcs(spec, box))
        arcs.set(edgecolor=EDGES["block"], linewidth=float(np.clip(3 / box.num_layers, 0.06, 0.5)))
        ax.add_collection(arcs)
    below = -HEIGHT / 2 - 0.06
    ax.text(box.middle, below, box.content, ha="center", va="top", fontsize=5.5, linespacing=1.15)
    if box.kind == "block":
        side = f"{box.out_size} × {box.out_size}"
        ax.text(box.middle, below - 0.3, side, ha="center", va="top", fontsize=6.5, color="#555555")


def network_screen(spec: DenseNetSpec, input_size: int | None = None) -> go.Figure:
    """Return the same figure for the screen, with a stage's widths and sizes on hover.

    Raises:
        ValueError: the input is too small for the network; the message names the smallest size that works.
    """
    boxes = stage_boxes(spec, input_size)
    figure = go.Figure()
    for box in boxes:
        if box.kind == "block":
            _add_arcs(figure, spec, box)
    texts = [text for box in boxes for text in _texts(box)]  # all at once: Plotly checks all again with each one added
    for x, maps in _arrows(boxes):
        ends = {"x": x + ARROW - 0.03, "ax": x + 0.03, "y": 0, "ay": 0, "axref": "x", "ayref": "y"}
        arrow = {"text": "", "showarrow": True, "arrowhead": 2, "arrowwidth": 1.2, "arrowcolor": INK}
        middle = {"x": x + ARROW / 2, "y": 0, "yshift": 10, "showarrow": False}
        texts += [ends | arrow, middle | {"text": str(maps), "font": {"size": 11}}]
    figure.update_layout(annotations=texts, shapes=[_frame(box) for box in boxes])
    custom = [(stage_title(box.stage), box.in_maps, box.out_maps, box.in_size, box.out_size) for box in boxes]
    square = {"symbol": "square", "size": 34, "color": "rgba(0,0,0,0)", "line": {"width": 0}}
    places = {"x": [box.middle for box in boxes], "y": [0] * len(boxes), "mode": "markers", "marker": square}
    figure.add_trace(go.Scatter(**places, customdata=custom, hovertemplate=_HOVER, name="stages"))
    figure.update_layout(**layout(height=270), dragmode=False, hovermode="closest")
    figure.update_layout(margin={"l": 0, "r": 0, "t": 4, "b": 4})
    figure.update_xaxes(visible=False, range=[0, boxes[-1].right + ARROW + 0.1])
    return figure.update_yaxes(visible=False, range=[-HEIGHT / 2 - 0.6, HEIGHT / 2 + 0.2])


def _frame(box: Box) -> dict[str, Any]:
    return {
        "type": "rect",
        **{"x0": box.left, "x1": box.right, "y0": -box.height / 2, "y1": box.height / 2},
        "line": {"color": EDGES[box.kind], "width": 1.2},
        "fillcolor": FILLS[box.kind],
        "layer": "below",
    }


def _texts(box: Box) -> list[dict[str, Any]]:
    text: dict[str, Any] = {"x": box.middle, "showarrow": False}
    below = text | {"y": -HEIGHT / 2, "yanchor": "top"}
    content = below | {"text": _on_screen(box.content), "font": {"size": 11}}
    if box.kind != "block":
        return [content]
    number = text | {"y": HEIGHT / 2, "yanchor": "bottom", "text": number_dense_block(box.block)}
    side = f"{box.out_size} × {box.out_size}"
    return [content, number, below | {"yshift": -38, "text": side, "font": {"color": MUTED}}]


def _add_arcs(figure: go.Figure, spec: DenseNetSpec, box: Box) -> None:
    points = arc_line(block_arcs(spec, box))
    line = {"color": EDGES["block"], "width": float(np.clip(6 / box.num_layers, 0.15, 1))}
    figure.add_trace(go.Scatter(x=points[:, 0], y=points[:, 1], mode="lines", line=line, hoverinfo="skip"))


def _on_screen(content: str) -> str:
    return content.replace("\n", "<br>") if "\n" in content else content  # a phrase stays one


def stage_boxes(spec: DenseNetSpec, input_size: int | None = None) -> list[Box]:
    """Return the place and the content of each stage."""
    stages = network_stages(spec, input_size)
    contents = _contents(spec, input_size)
    num_blocks = len(spec.block_config)
    narrow = len(stages) - num_blocks
    rest = COLUMN_WIDTHS[2] - 0.2 - (len(stages) + 1) * ARROW - narrow * NARROW
    block_width = max(MIN_BLOCK, rest / num_blocks)
    largest = max(stages["out_size"].max(), 1)
    boxes, x = [], 0.1 + ARROW
    for row in stages.to_dict("records"):
        facts = {str(column): value for column, value in row.items()}
        stage, kind = facts.pop("stage"), facts.pop("kind")
        right = x + (block_width if kind == "block" else NARROW)
        height = HEIGHT * max(0.22, float(np.sqrt(facts["out_size"] / largest)))
        words = Phrase("figures.num_layers", "{number} layers", number=facts["num_layers"])
        content = words if kind == "block" else contents[stage]
        boxes.append(Box(stage, kind, x, right, height, content, **facts))
        x = right + ARROW
    return boxes


def block_arcs(spec: DenseNetSpec, box: Box) -> list[np.ndarray]:
    """Return the control points (4, 2) of each connection of a block, inside its box."""
    places = np.linspace(box.left, box.right, box.num_layers + 4)[1:-1]  # the input, the layers, what follows
    connections = block_connections(spec, box.block)
    starts, ends = places[connections["source_layer"]], places[connections["target_layer"]]
    heights = 0.72 * box.height * (ends - starts) / (places[-1] - places[0])
    return [arc(*ends_and_height, -0.36 * box.height) for ends_and_height in zip(starts, ends, heights, strict=True)]


def _contents(spec: DenseNetSpec, input_size: int | None) -> dict[str, str]:
    """Return the operations of each stage except norms and ReLUs, one per line."""
    size = default_input_size(spec) if input_size is None else input_size
    lines: dict[str, list[str]] = {}
    for layer in network_layers(spec, size):
        if layer.kind in KERNEL_WORDS:
            word = f"{layer.kernel} × {layer.kernel} {KERNEL_WORDS[layer.kind]}"
            lines.setdefault(layer.stage, []).append(word)
        elif layer.kind in WORDS:
            lines.setdefault(layer.stage, []).append(WORDS[layer.kind])
    return {stage: "\n".join(words) for stage, words in lines.items()}


def _arrows(boxes: list[Box]) -> list[tuple[float, int]]:
    """Return where each arrow begins, and the feature maps that go along it."""
    return [(boxes[0].left - ARROW, boxes[0].in_maps), *((box.right, box.out_maps) for box in boxes)]
