"""The ways in which an ablation is measured: by several processes, in half precision, in batches that fit the cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.reuse import ablation
from analysis.reuse.ablation import connection_ablation
from analysis.reuse.comparison.image_effects import EFFECTS
from analysis.reuse.cuts.processes import in_order
from analysis.reuse.cuts.scores import fitting_batch
from densenet_core import DenseNetSpec, RunError
from tests.analysis.reuse.answers import answer_later_first
from tests.analysis.reuse.test_effects import SPECS, checkpoint_of, some_images


@pytest.mark.slow
def test_two_processes_measure_the_same_table_and_resume(tmp_path: Path) -> None:
    checkpoint, images = checkpoint_of(SPECS[0]), some_images()
    alone = connection_ablation(checkpoint, images, batch_size=2, replace="mean")
    steps = []

    def interrupt(done: int, total: int) -> None:
        steps.append(done)
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        connection_ablation(
            checkpoint, images, batch_size=2, replace="mean", workers=2, on_batch=interrupt, keep_in=tmp_path
        )
    assert steps == [0, 2, 4]
    together = connection_ablation(
        checkpoint, images, batch_size=2, replace="mean", keep_in=tmp_path, on_batch=lambda *step: steps.append(step[0])
    )
    assert steps[3:] == [4, 6, 8, 10, 12]
    np.testing.assert_allclose(together["ablation"], alone["ablation"], atol=1e-6)
    np.testing.assert_allclose(together.attrs[EFFECTS].values, alone.attrs[EFFECTS].values, atol=1e-5)


@pytest.mark.slow
def test_results_come_in_order_and_a_process_that_ends_is_an_error(tmp_path: Path) -> None:
    prepare: Callable[[], Callable[[int], int]] = partial(partial, answer_later_first, tmp_path)
    found = in_order(prepare, [0, 1, 2, 3, 9, 1], 2)
    assert list(islice(found, 4)) == [0, 10, 20, 30]
    with pytest.raises(RunError, match="a worker process ended before its work was done"):
        list(found)
    assert list(in_order(prepare, [], 2)) == []


@pytest.mark.slow
def test_half_precision_states_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "NUM_COMPARED", 5)
    checkpoint, images = checkpoint_of(SPECS[0]), some_images()
    exact = connection_ablation(checkpoint, images)
    rough = connection_ablation(checkpoint, images, precision="bf16", keep_in=tmp_path)
    difference = np.abs((rough.attrs[EFFECTS].values - exact.attrs[EFFECTS].values)[:5].mean(0)).max()
    assert 1e-5 < rough.attrs["bf16_error"] < 0.2
    assert rough.attrs["bf16_error"] == pytest.approx(difference, rel=1e-3)
    monkeypatch.setattr(ablation, "_ablate_batch", None)  # all is kept, the comparison too
    again = connection_ablation(checkpoint, images, precision="bf16", keep_in=tmp_path)
    assert again.attrs["bf16_error"] == rough.attrs["bf16_error"]
    pd.testing.assert_frame_equal(again, rough)


def test_a_batch_has_as_many_images_as_fit_in_the_cache() -> None:
    assert fitting_batch(DenseNetSpec.imagenet("121"), 224) == 2  # 56 x 56 positions in the first block
    assert fitting_batch(DenseNetSpec((3, 2), 4, 8), 32) == 8
    assert fitting_batch(DenseNetSpec((3, 2), 4, 8), 8) == 50


@pytest.mark.slow
def test_unknown_options_are_rejected() -> None:
    with pytest.raises(ValueError, match="precision 'int8' is unknown: choose fp32 or bf16"):
        connection_ablation(checkpoint_of(SPECS[0]), some_images(), precision="int8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="workers 0 must be 1 or more"):
        connection_ablation(checkpoint_of(SPECS[0]), some_images(), workers=0)
