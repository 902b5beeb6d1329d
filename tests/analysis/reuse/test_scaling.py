from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import connection_weights, scaled, target_share
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


@pytest.mark.parametrize("scaling", ["block_max", "network_max", "target_max", "target_minmax", "none"])
def test_every_scaling_is_its_definition(table: pd.DataFrame, scaling: str) -> None:
    np.testing.assert_allclose(scaled(table, "mean_abs_weight", scaling), by_hand(table, scaling))


def test_weights_of_zero_become_zero_not_nan(table: pd.DataFrame) -> None:
    table["mean_abs_weight"] = 0.0
    for scaling in ("block_max", "network_max", "target_max", "target_minmax", "none"):
        assert (scaled(table, "mean_abs_weight", scaling) == 0).all()


def test_shares_add_up_to_1_over_a_target(table: pd.DataFrame) -> None:
    totals = target_share(table).groupby([table["block"], table["target_layer"]]).sum()
    np.testing.assert_allclose(totals, 1.0)


def test_a_share_counts_the_sources_channels(table: pd.DataFrame) -> None:
    row = table[(table.block == 1) & (table.target_layer == 2)].copy()
    row["l1_per_input_map"] = [1.0, 3.0]
    assert row["num_channels"].tolist() == [8, 4]
    assert target_share(row).tolist() == [8 / 20, 12 / 20]


def test_unknown_options_list_the_known(table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="scaling 'max' is none of block_max, network_max"):
        scaled(table, "mean_abs_weight", "max")
    with pytest.raises(ValueError, match="measure 'norm' is none of mean_abs_weight, l1_per_input_map"):
        scaled(table, "norm")
