from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import connection_weights, feature_reuse_figure, scale_measure, target_share
from analysis.figures.figure_5 import feature_reuse_screen
from analysis.figures.style.heatmap import DIVERGING
from analysis.reuse.scaling import SCALINGS, color_range
from densenet_core import Checkpoint


@pytest.fixture
def table(small_checkpoint: Checkpoint) -> pd.DataFrame:
    return connection_weights(small_checkpoint)


def by_hand(table: pd.DataFrame, scaling: str) -> list[float]:
    values = []
    for _, row in table.iterrows():
        block = table[table["block"] == row["block"]]
        target = block[block["target_layer"] == row["target_layer"]]
        w = row["mean_abs_weight"]
        low, high = target["mean_abs_weight"].min(), target["mean_abs_weight"].max()
        values.append(
            {
                "block_max": w / block["mean_abs_weight"].max(),
                "network_max": w / table["mean_abs_weight"].max(),
                "target_max": w / high,
                "target_minmax": (w - low) / (high - low) if high > low else 0.0,
                "none": w,
            }[scaling]
        )
    return values


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["block_max", "network_max", "target_max", "target_minmax", "none"])
def test_every_scaling_is_its_definition(table: pd.DataFrame, scaling: str) -> None:
    np.testing.assert_allclose(scale_measure(table, "mean_abs_weight", scaling), by_hand(table, scaling))


def test_weights_of_zero_become_zero_not_nan(table: pd.DataFrame) -> None:
    table["mean_abs_weight"] = 0.0
    for scaling in SCALINGS:
        assert (scale_measure(table, "mean_abs_weight", scaling) == 0).all()


def test_a_framed_column_does_not_take_the_scale_of_the_dense_layers(table: pd.DataFrame) -> None:
    framed = table["target_kind"] != "dense_layer"
    table["mean_abs_weight"] = np.where(framed, 100.0, np.arange(len(table)) + 1.0)
    found = scale_measure(table, "mean_abs_weight", "dense_max")
    assert (found[framed] == 1).all()
    assert (found[~framed].groupby(table["block"]).max() == 1).all()
    assert scale_measure(table, "mean_abs_weight", "block_max")[~framed].max() < 0.5


def test_heavy_tails_are_spread_and_signs_stay(table: pd.DataFrame) -> None:
    values = np.where(np.arange(len(table)) % 2, 1.0, -1.0) * 1e-4
    values[0], values[1], values[2] = 10.0, -0.1, 0.0
    table["ablation"] = values
    assert table["ablation"].abs().rank().equals(scale_measure(table, "ablation", "signed_log").abs().rank())
    for scaling in ("rank", "signed_log"):
        found = scale_measure(table, "ablation", scaling)
        assert (np.sign(found) == np.sign(values)).all()
        assert (found[0], found[2]) == (1.0, 0.0)
        assert found[3] > 0.05  # by its maximum it would be 1e-5
    assert scale_measure(table, "ablation").equals(
        scale_measure(table, "ablation", "signed_log")
    )  # the default for effects
    assert scale_measure(table, "mean_abs_weight").equals(scale_measure(table, "mean_abs_weight", "kind_max"))


def test_zero_is_in_the_middle_of_a_signed_measures_colors(table: pd.DataFrame) -> None:
    values = pd.Series([-0.1, 0.4])
    assert color_range(values, "ablation", "none") == (-0.4, 0.4)
    assert color_range(values, "ablation", "signed_log") == (-1, 1)
    assert color_range(values, "mean_abs_weight", "block_max") == (0, 1)
    table["ablation"] = np.linspace(-0.1, 0.4, len(table))
    low, high = feature_reuse_figure(table, "ablation").axes[0].collections[0].get_clim()
    assert (low, high) == (-1, 1)
    assert feature_reuse_figure(table, "ablation").axes[0].collections[0].cmap.name == DIVERGING
    assert feature_reuse_screen(table, "ablation").layout.coloraxis.cmin == -1


def test_shares_add_up_to_1_over_a_target(table: pd.DataFrame) -> None:
    totals = target_share(table).groupby([table["block"], table["target_layer"]]).sum()
    np.testing.assert_allclose(totals, 1.0)


def test_a_share_counts_the_sources_channels(table: pd.DataFrame) -> None:
    row = table[(table.block == 1) & (table.target_layer == 2)].copy()
    row["l1_per_input_map"] = [1.0, 3.0]
    assert row["num_channels"].tolist() == [8, 4]
    assert target_share(row).tolist() == [8 / 20, 12 / 20]


def test_unknown_options_list_the_known(table: pd.DataFrame) -> None:
    with pytest.raises(
        ValueError, match="scaling 'max' is unknown: choose from kind_max, block_max, dense_max, network_max"
    ):
        scale_measure(table, "mean_abs_weight", "max")
    with pytest.raises(ValueError, match="measure 'norm' is unknown: choose from mean_abs_weight, l1_per_input_map"):
        scale_measure(table, "norm")
