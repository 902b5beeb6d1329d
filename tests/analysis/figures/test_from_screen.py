"""Figures of the screen for paper: the same values, titles and legends, read back from Matplotlib."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures.style.from_screen import paper_figure


def test_bars_lines_and_points_have_the_screens_values() -> None:
    screen = go.Figure([go.Bar(x=[1, 2], y=[3, 4], marker={"color": ["#ff0000", "rgba(0,0,255,0.5)"]})])
    screen.add_scatter(
        x=[1, 2], y=[5, 6], mode="lines+markers", name="a line", line={"color": "#00ff00", "dash": "dot"}
    )
    screen.add_scatter(x=[1], y=[9], mode="markers", marker={"opacity": 0}, name="hover")
    screen.add_scatter(x=[1, 2], y=[7, 8], name="another")
    screen.update_layout(xaxis={"title": {"text": "layer<br>s"}}, yaxis={"type": "log", "title": {"text": "loss"}})
    figure = paper_figure(screen)
    (ax,) = figure.axes
    assert [bar.get_height() for bar in ax.patches] == [3, 4]
    assert ax.patches[1].get_facecolor() == (0, 0, 1, 0.5)
    assert [list(line.get_ydata()) for line in ax.lines] == [[5, 6], [7, 8]]
    assert (ax.lines[0].get_color(), ax.lines[0].get_linestyle()) == ("#00ff00", ":")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("layer s", "loss", "log")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a line", "another"]


def test_horizontal_bars_heatmaps_and_panels() -> None:
    screen = go.Figure([go.Bar(x=[3, 4], y=["a", "b"], orientation="h", base=[1, 2])])
    screen.add_heatmap(z=[[1, 2], [3, 4]], xaxis="x2", yaxis="y2")
    screen.update_layout(yaxis2={"autorange": "reversed"}, xaxis2={"tickvals": [0, 1], "ticktext": ["<b>p</b>", "q"]})
    left, right = paper_figure(screen).axes
    assert [(bar.get_x(), bar.get_width()) for bar in left.patches] == [(1, 3), (2, 4)]
    assert np.array_equal(right.collections[0].get_array().reshape(2, 2), [[1, 2], [3, 4]])
    assert right.yaxis_inverted()
    assert [text.get_text() for text in right.get_xticklabels()] == ["p", "q"]


def test_arrays_of_numpy_and_pandas_are_values_too() -> None:
    table = pd.DataFrame({"x": [1, 2, 3], "y": [0.5, 1.5, 2.5]})
    screen = go.Figure([go.Scatter(x=table["x"], y=table["y"]), go.Bar(x=table["x"], y=np.array([4, 5, 6]))])
    screen.add_heatmap(z=np.arange(6).reshape(2, 3), x=np.arange(3), xaxis="x2", yaxis="y2")
    left, right = paper_figure(screen).axes
    assert [list(left.lines[0].get_xdata()), list(left.lines[0].get_ydata())] == [[1, 2, 3], [0.5, 1.5, 2.5]]
    assert [bar.get_height() for bar in left.patches] == [4, 5, 6]
    assert np.array_equal(right.collections[0].get_array().reshape(2, 3), [[0, 1, 2], [3, 4, 5]])


def test_a_legend_of_sentences_is_below_the_axes_and_leaves_them_their_size() -> None:
    screen = go.Figure([go.Scatter(x=[1, 2], y=[3, 4], name=f"{n}. {'a word ' * 15}") for n in range(5)])
    figure = paper_figure(screen)
    figure.draw_without_rendering()
    axes, legend = figure.axes[0].get_window_extent(), figure.legends[0].get_window_extent()
    assert axes.width > 0.7 * figure.bbox.width and axes.height > 1.2 * figure.dpi
    assert legend.y1 <= axes.y0 and legend.x0 >= 0 and legend.x1 <= figure.bbox.width
