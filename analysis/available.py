"""Which analyses a network allows, by the same checks that the analyses run themselves."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from analysis.reuse.connections import check_splits, concatenations, dense_spec
from densenet_core import Checkpoint, CheckpointError
from densenet_core.checkpoints.identify.connectivity import targets


def available_analyses(checkpoint: Checkpoint) -> pd.DataFrame:
    """Return which analyses a network allows, and why not the others.

    >>> from densenet_core import load_zoo
    >>> bool(available_analyses(load_zoo("densenet-40-12-digits"))["possible"].all())
    True

    Returns:
        Columns analysis, possible (bool) and reason (why it is not possible, or an empty text).
    """
    rows = [(analysis, *_run_check(check, checkpoint)) for analysis, check in _CHECKS.items()]
    return pd.DataFrame(rows, columns=["analysis", "possible", "reason"])


def _run_check(check: Callable[[Checkpoint], object], checkpoint: Checkpoint) -> tuple[bool, str]:
    try:
        check(checkpoint)
    except CheckpointError as error:
        return False, str(error)
    return True, ""


def _check_norms(checkpoint: Checkpoint) -> None:
    without = [target.weight for target in targets(concatenations(checkpoint)) if target.norm is None]
    if without:
        raise CheckpointError(f"no batch norm comes right before {without[0]!r} ({len(without)} such layers)")


def _check_images(checkpoint: Checkpoint) -> None:
    if (dims := checkpoint.architecture.spatial_dims) != 2:
        raise CheckpointError(f"the data sets are of images: this network's convolutions have {dims} dimensions")


def _check_densenet_on_images(checkpoint: Checkpoint) -> None:
    check_splits(dense_spec(checkpoint))
    _check_images(checkpoint)


_CHECKS: dict[str, Callable[[Checkpoint], object]] = {
    "feature reuse by weights (mean |w|, L1 norm)": concatenations,
    "feature reuse by effective weights (|w γ|)": _check_norms,
    "cost, memory, latency, comparison, ONNX": lambda checkpoint: checkpoint.architecture,
    "loss and error on images": _check_images,
    "claims, redundancy, short paths": dense_spec,
    "feature reuse on images, agreement, gradient flow, pruning": _check_densenet_on_images,
}
