"""The table of measures: every entry is computed, titled in every language, and named in the command's help."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.reuse.connections import connection_weights
from analysis.reuse.measures import (
    IMAGE_MEASURES,
    MEASURES,
    STATISTICS,
    check_measures,
    is_signed,
    measure_title,
    needs_images,
    with_measures,
)
from analysis.reuse.measuring import measure_reuse
from app.dashboard.language import catalogue
from densenet_core import Checkpoint
from densenet_core.data.images import sample_evenly
from tests.analysis.reuse.test_effects import SPECS, checkpoint_of, some_images


def test_every_measure_is_computed_and_no_statistic_is_left() -> None:
    table = measure_reuse(checkpoint_of(SPECS[0]), MEASURES, some_images())
    assert set(MEASURES) < set(table.columns)
    assert table[list(MEASURES)].notna().all(axis=None)
    assert not set(table.columns) & {name for names in STATISTICS.values() for name in names}


def test_only_what_is_asked_for_is_measured_on_images() -> None:
    table = measure_reuse(checkpoint_of(SPECS[0]), ("ablation",), sample_evenly(some_images(), 4))
    assert set(table.columns) & set(IMAGE_MEASURES) == {"ablation"}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_every_measure_is_described_and_titled_in_every_language(measure: object) -> None:
    assert measure.definition.endswith(".")
    assert measure_title(measure.name).key in catalogue("ko")


def test_the_command_lists_every_measure() -> None:
    from app.cli.main import app

    words = CliRunner().invoke(app, ["reuse", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert all(name in words for name in MEASURES)


def test_totals_are_the_per_channel_means_times_what_they_average(small_checkpoint: Checkpoint) -> None:
    table = connection_weights(small_checkpoint)
    np.testing.assert_allclose(table["total_abs_weight"], table["l1_per_input_map"] * table["num_channels"])
    weights = table["total_abs_weight"] / table["mean_abs_weight"]  # of a connection
    np.testing.assert_allclose(table["total_effective_weight"], table["effective_weight"] * weights)
    whole = sum(
        tensor.abs().sum().item()
        for key, tensor in small_checkpoint.state_dict.items()
        if key.endswith(("conv1.weight", "conv.weight", "classifier.weight"))
    )
    assert table["total_abs_weight"].sum() == pytest.approx(whole, rel=1e-6)


def test_a_share_adds_up_to_one_and_a_total_of_zero_is_no_share() -> None:
    rows = pd.DataFrame({"block": 1, "target_layer": [1, 2, 2, 3], "part_norm": [0.0, 1.0, 3.0, 2.0]})
    found = with_measures(rows, "images")
    assert found["contribution"].tolist() == [0.0, 0.25, 0.75, 1.0]
    assert found["contribution_total"].tolist() == [0.0, 1.0, 3.0, 2.0]
    assert "part_norm" not in found


def test_an_unknown_measure_is_named_with_those_known() -> None:
    with pytest.raises(ValueError, match="measure 'size' is unknown: choose from mean_abs_weight, l1_per_input_map"):
        check_measures(["ablation", "size"])
    with pytest.raises(ValueError, match="measure 'size' is unknown"):
        needs_images(["size"])
    assert needs_images(["mean_abs_weight", "taylor"])
    assert not needs_images(["total_abs_weight"])
    assert (measure_title("size"), is_signed("size")) == ("size", False)
    assert is_signed("ablation")
