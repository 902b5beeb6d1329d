"""Check whether a run is finished, without its data set and without Lightning Fabric."""

from __future__ import annotations

from densenet_core.checkpoints.checkpoint import load_checkpoint
from densenet_core.errors import CheckpointError, RunError
from densenet_core.training.config import TrainingConfig
from densenet_core.training.runs.claim import claim_folder
from densenet_core.training.runs.files import WEIGHTS
from densenet_core.training.runs.state import finished_in, newest_state
from densenet_core.training.runs.status import locked, read_summary


def is_finished(config: TrainingConfig, patience_s: float = 0.0) -> bool:
    """Return whether the run of these settings has all its epochs and its files are whole.

    Metrics and settings that are damaged are restored. If the weights are, the answer is no: training restores them.

    Args:
        patience_s: how long to wait for another process that holds the run.

    Raises:
        RunError: the folder holds a run with other settings, or another process trains it.
    """
    folder = config.folder
    try:
        if read_summary(folder).state != "finished":
            return False
    except RunError:  # no run, or damaged
        return False
    with locked(folder, patience_s):
        claim_folder(config)
        state = newest_state(folder)
        if state is not None and state["epoch"] < config.epochs:
            return False
        if finished_in(folder, state).epoch < config.epochs:
            return False
        try:
            load_checkpoint(folder / WEIGHTS)
        except (CheckpointError, OSError):
            return False
    return True
