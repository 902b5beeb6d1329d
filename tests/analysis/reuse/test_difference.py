"""The difference of two networks' feature reuse, against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import connection_weights
from analysis.figures.difference import COLUMNS, difference_figure, difference_screen
from analysis.reuse.comparison.difference import reuse_difference
from densenet_core import Checkpoint, DenseNetSpec
from tests.conftest import trained_like

SPEC = DenseNetSpec((3, 2), 4, 8, num_classes=5)
FIRST, SECOND = (connection_weights(Checkpoint(SPEC, trained_like(SPEC, seed).state_dict())) for seed in (0, 1))


def mean_rank(values: np.ndarray, value: float) -> float:
    """The rank of a value; equal values share the mean of theirs."""
    return float((values < value).sum() + ((values == value).sum() - 1) / 2)


def test_each_network_is_scaled_by_itself_and_the_second_is_subtracted() -> None:
    found = reuse_difference(FIRST, SECOND)
    for row in found.itertuples():
        values = []
        for table in (FIRST, SECOND):
            block = table[(table["block"] == row.block) & (table["target_kind"] == row.target_kind)]
            here = (block["source_layer"] == row.source_layer) & (block["target_layer"] == row.target_layer)
            values.append(float(block.loc[here, "mean_abs_weight"].iloc[0] / block["mean_abs_weight"].max()))
        assert (row.first, row.second) == pytest.approx(tuple(values))
        assert row.difference == pytest.approx(values[0] - values[1])
    ranks = [[mean_rank(found[name].to_numpy(), value) for value in found[name]] for name in ("first", "second")]
    assert found.attrs["rank_correlation"] == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_a_network_of_another_shape_is_refused() -> None:
    other = DenseNetSpec((3, 3), 4, 8, num_classes=5)
    table = connection_weights(Checkpoint(other, trained_like(other).state_dict()))
    with pytest.raises(ValueError, match=r"different blocks, \(3, 2 layers\) and \(3, 3 layers\)"):
        reuse_difference(FIRST, table)


def test_both_figures_show_the_difference_around_white() -> None:
    found = reuse_difference(FIRST, SECOND)
    screen = difference_screen(found)
    drawn = np.concatenate([trace.z[~np.isnan(trace.z)] for trace in screen.data if trace.type == "heatmap"])
    assert sorted(drawn) == pytest.approx(sorted(found["difference"]))
    assert screen.layout.coloraxis.cmin == -screen.layout.coloraxis.cmax
    cells = [tuple(row) for trace in screen.data if trace.type == "scatter" for row in trace.customdata]
    assert cells == list(found[COLUMNS].itertuples(index=False, name=None))
    figure = difference_figure(found)
    assert len(figure.axes) == 3
