"""Write the files of a run after an epoch: what is finished, and what resuming needs (``state`` reads it)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from densenet_core.checkpoints.checkpoint import Checkpoint, save_checkpoint
from densenet_core.errors import RunError
from densenet_core.files import write_whole
from densenet_core.networks.network import Network
from densenet_core.training.config import TrainingConfig
from densenet_core.training.runs import files
from densenet_core.training.runs.files import DIVERGED, LAST, METRICS, PREVIOUS, WEIGHTS, Metric
from densenet_core.training.runs.status import RunSummary, write_summary

Session = dict[str, Any]  # the epoch at which it began, and what may change the rounding of its numbers


@dataclass(frozen=True)
class Finished:
    """The content of a run folder after the finished epochs."""

    epoch: int  # 0 where none is finished
    metrics: list[Metric]
    state: dict[str, Any] | None  # None where no epoch is finished
    sessions: list[Session]  # with this one, where its numbers may be rounded in another way
    kept: dict[str, Any] = field(default_factory=dict)  # the weights of an earlier epoch that the run keeps
    start: dict[str, Any] | None = None  # what is known of the initial weights


def save(
    config: TrainingConfig,
    model: Network,
    optimizer: torch.optim.Optimizer,
    metrics: list[Metric],
    record: dict[str, Any],
    finished: Finished,
) -> None:
    """Write the epoch's files; last.ckpt comes last, since it defines what is finished.

    Raises:
        RunError: the folder can't be written, or was deleted.
    """
    folder = config.folder
    state = {
        "epoch": metrics[-1].epoch,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "metrics": [asdict(row) for row in metrics],
        "config": files.to_json_values(asdict(config)),
        "record": files.to_json_values(record),
        "sessions": finished.sessions,
        **({"kept": finished.kept} if finished.kept else {}),
    }
    try:
        files.write_metrics(folder / METRICS, metrics)
        save_checkpoint(to_checkpoint(model, record, finished.kept), folder / WEIGHTS)
        write_summary(folder, _summary(record))
        write_whole(folder / LAST, partial(_write_state, state), keep=folder / PREVIOUS)
    except OSError as error:
        raise unwritable(folder, error) from error


def _write_state(state: dict[str, Any], file: Path) -> None:
    """Call torch.save; on a full disk the system's OSError is raised, which torch hides behind a RuntimeError."""
    try:
        with file.open("wb") as stream:
            torch.save(state, stream)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def unwritable(folder: Path, error: Exception) -> RunError:
    """Return the error for a run folder that can't be written, or is gone."""
    if isinstance(error, FileNotFoundError) and not folder.is_dir():
        return RunError(
            f"the run folder {str(folder)!r} was deleted during the training: run the same command again to start anew"
        )
    reason: object = error
    if isinstance(error, OSError) and error.strerror:
        name = Path(error.filename).name if error.filename else ""
        reason = f"{name}: {error.strerror}" if name and name != folder.name else error.strerror
    return RunError(f"can't write the run folder {str(folder)!r}: {reason}")


def check_folder(folder: Path) -> None:
    """Raise RunError if the run folder was deleted."""
    if not folder.is_dir():
        raise unwritable(folder, FileNotFoundError())


def keep_diverged(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, step: int) -> None:
    """Write diverged.ckpt: the state at which the loss stopped being finite, for inspection."""
    state = {"epoch": epoch, "step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    try:
        write_whole(folder / DIVERGED, partial(_write_state, state))
    except OSError as error:
        raise unwritable(folder, error) from error


def to_checkpoint(model: Network, record: Mapping[str, Any], kept: Mapping[str, Any] | None) -> Checkpoint:
    """Return the network of a run's model.safetensors: with the weights of the epoch that is ``kept``, else its own."""
    weights = kept or {key: value.detach().cpu() for key, value in model.state_dict().items()}
    return Checkpoint(model.spec, dict(weights), dict(record))


def _summary(record: Mapping[str, Any]) -> RunSummary:
    return RunSummary(
        name=record["name"],
        arch=record["arch"],
        dataset=record["dataset"],
        seed=record["seed"],
        epochs_planned=record["epochs_planned"],
        epoch=record["epochs"],
        test_error=record["test_error"],
        seconds_per_epoch=record["seconds"] / record["epochs"],
    )
