"""What can be done with a network, and what can not: each analysis asked by the guard that it has itself."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from analysis.reuse.connections import concatenations, dense_spec
from densenet_core import Checkpoint, CheckpointError
from densenet_core.checkpoints.identify.connectivity import targets


def abilities(checkpoint: Checkpoint) -> pd.DataFrame:
    """Which analyses a network allows.

    Returns:
        Columns analysis, possible (bool) and reason (empty where it is possible).
    """
    rows = [(analysis, *_asked(guard, checkpoint)) for analysis, guard in _GUARDS.items()]
    return pd.DataFrame(rows, columns=["analysis", "possible", "reason"])


def _asked(guard: Callable[[Checkpoint], object], checkpoint: Checkpoint) -> tuple[bool, str]:
    try:
        guard(checkpoint)
    except CheckpointError as error:
        return False, str(error)
    return True, ""


def _has_norms(checkpoint: Checkpoint) -> None:
    without = [target.weight for target in targets(concatenations(checkpoint)) if target.norm is None]
    if without:
        raise CheckpointError(f"no batch norm stands right before {without[0]!r} ({len(without)} such layers)")


def _reads_images(checkpoint: Checkpoint) -> None:
    if (dims := checkpoint.architecture.spatial_dims) != 2:
        raise CheckpointError(f"the data sets are of images: this network's convolutions have {dims} dimensions")


def _densenet_on_images(checkpoint: Checkpoint) -> None:
    dense_spec(checkpoint)
    _reads_images(checkpoint)


_GUARDS: dict[str, Callable[[Checkpoint], object]] = {
    "feature reuse by weights (mean |w|, L1 norm)": concatenations,
    "feature reuse by effective weights (|w γ|)": _has_norms,
    "cost, memory, latency, comparison, ONNX": lambda checkpoint: checkpoint.architecture,
    "loss and error on images": _reads_images,
    "claims, redundancy, short paths": dense_spec,
    "feature reuse on images, agreement, gradient flow, pruning": _densenet_on_images,
}
