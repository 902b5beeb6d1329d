"""How a training's state gets into its run folder after every epoch, and back out of it."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from densenet_core.checkpoints.checkpoint import Checkpoint, save_checkpoint
from densenet_core.errors import RunError
from densenet_core.files import write_whole
from densenet_core.networks.network import Network
from densenet_core.training import run_folder
from densenet_core.training.config import PLACE_FIELDS, TrainingConfig
from densenet_core.training.run_folder import Metric
from densenet_core.training.run_status import RunSummary, write_summary


def claim_folder(config: TrainingConfig) -> Path:
    """Makes the run folder, or checks that the run in it is this one."""
    folder, asked = config.folder, _plain(asdict(config))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / run_folder.CONFIG).exists():
            run_folder.write_config(folder, asked)
    except OSError as error:
        raise RunError(f"can't write the run folder {str(folder)!r}: {error.strerror}") from None
    # What the run's config.json does not have, because the setting is newer than the run, is as it is by default.
    defaults = {field.name: field.default for field in fields(config) if field.default is not MISSING}
    found = defaults | run_folder.read_config(folder)
    differing = sorted(key for key in asked if key not in PLACE_FIELDS and _plain(found.get(key)) != asked[key])
    if differing:
        key = differing[0]
        raise RunError(
            f"the run {config.name!r} was started with {key} {_plain(found.get(key))!r}, not {asked[key]!r}: "
            "ask for the same to resume it, or give another name"
        )
    return folder


@dataclass(frozen=True)
class Finished:
    """What a run folder holds of the epochs that are done."""

    metrics: list[Metric]
    state: dict[str, Any] | None  # of last.ckpt; None where no epoch is done


def resume(folder: Path) -> Finished:
    """Reads the last finished epoch's state and the metrics up to it.

    Raises:
        RunError: a file is damaged.
    """
    (folder / run_folder.DIVERGED).unlink(missing_ok=True)
    if not (folder / run_folder.LAST).exists():
        return Finished([], None)
    try:
        state = torch.load(folder / run_folder.LAST, map_location="cpu", weights_only=True)
        epoch = int(state["epoch"])
    except Exception as error:  # torch's readers raise many kinds on damaged files
        raise _damaged(folder, error) from None
    # A kill between the two files leaves metrics of an epoch that last.ckpt does not have.
    metrics = [metric for metric in run_folder.read_metrics(folder / run_folder.METRICS) if metric.epoch <= epoch]
    if not metrics or metrics[-1].epoch != epoch:
        raise RunError(
            f"{str(folder / run_folder.METRICS)!r} ends before epoch {epoch}, which {run_folder.LAST} holds: "
            "put the whole file back, or delete the run folder to start anew"
        )
    return Finished(metrics, state)


def load_state(folder: Path, state: dict[str, Any] | None, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Puts the weights and the optimizer's state back, where there are any.

    Raises:
        RunError: they are not those of this network.
    """
    if state is None:
        return
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise _damaged(folder, error) from None


def _damaged(folder: Path, error: Exception) -> RunError:
    return RunError(f"{str(folder / run_folder.LAST)!r} is damaged ({error}): delete the run folder to start anew")


def save(
    folder: Path, model: Network, optimizer: torch.optim.Optimizer, metrics: list[Metric], record: dict[str, Any]
) -> None:
    """Writes the epoch; last.ckpt comes last, for it says what is finished."""
    weights = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    state = {"epoch": metrics[-1].epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    try:
        run_folder.write_metrics(folder / run_folder.METRICS, metrics)
        save_checkpoint(Checkpoint(model.spec, weights, record), folder / run_folder.WEIGHTS)
        write_summary(folder, _summary(record))
        write_whole(folder / run_folder.LAST, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:  # torch.save tells of a full disk by a RuntimeError
        raise RunError(f"can't write the run folder {str(folder)!r}: {error}") from None


def keep_diverged(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, step: int) -> None:
    """Writes diverged.ckpt: the state in which the loss stopped being finite, for inspection."""
    state = {"epoch": epoch, "step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    write_whole(folder / run_folder.DIVERGED, lambda file: torch.save(state, file))


def _summary(record: dict[str, Any]) -> RunSummary:
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


def _plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value))
