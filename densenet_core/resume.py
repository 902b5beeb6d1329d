"""How a training's state gets into its run folder after every epoch, and back out of it."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from densenet_core import runs
from densenet_core.checkpoint import Checkpoint, save_checkpoint
from densenet_core.errors import RunError
from densenet_core.files import write_whole
from densenet_core.hardware import device
from densenet_core.models import Network
from densenet_core.recipes import TrainingConfig
from densenet_core.run_status import RunSummary, write_summary
from densenet_core.runs import Metric


def claim_folder(config: TrainingConfig) -> Path:
    """Makes the run folder, or checks that the run in it is this one."""
    folder, asked = config.folder, _plain(asdict(config))
    where = ("data", "runs_dir")  # may differ: the same run on another machine
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / runs.CONFIG).exists():
            runs.write_config(folder, asked)
    except OSError as error:
        raise RunError(f"can't write the run folder {str(folder)!r}: {error.strerror}") from None
    defaults = {field.name: field.default for field in fields(config)}  # of settings newer than the run
    found = defaults | runs.read_config(folder)
    differing = sorted(key for key in asked if key not in where and _plain(found.get(key)) != asked[key])
    if differing:
        key = differing[0]
        raise RunError(
            f"the run {config.name!r} was started with {key} {_plain(found.get(key))!r}, not {asked[key]!r}: "
            "ask for the same to resume it, or give another name"
        )
    return folder


def resume(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Metric]:
    """Puts the last finished epoch's state back; the metrics up to it."""
    (folder / runs.DIVERGED).unlink(missing_ok=True)
    if not (folder / runs.LAST).exists():
        return []
    try:
        state = torch.load(folder / runs.LAST, map_location=device(), weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # torch's readers raise many kinds on damaged files
        file = str(folder / runs.LAST)
        raise RunError(f"{file!r} is damaged ({error}): delete the run folder to start anew") from None
    # A kill between the two files leaves metrics of an epoch that last.ckpt does not have.
    metrics = [metric for metric in runs.read_metrics(folder / runs.METRICS) if metric.epoch <= state["epoch"]]
    if not metrics or metrics[-1].epoch != state["epoch"]:
        raise RunError(
            f"{str(folder / runs.METRICS)!r} ends before epoch {state['epoch']}, which {runs.LAST} holds: "
            "put the whole file back, or delete the run folder to start anew"
        )
    return metrics


def save(
    folder: Path, model: Network, optimizer: torch.optim.Optimizer, metrics: list[Metric], record: dict[str, Any]
) -> None:
    """Writes the epoch; last.ckpt comes last, for it says what is finished."""
    weights = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    state = {"epoch": metrics[-1].epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    try:
        runs.write_metrics(folder / runs.METRICS, metrics)
        save_checkpoint(Checkpoint(model.spec, weights, record), folder / runs.WEIGHTS)
        write_summary(folder, _summary(record))
        write_whole(folder / runs.LAST, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:  # torch.save tells of a full disk by a RuntimeError
        raise RunError(f"can't write the run folder {str(folder)!r}: {error}") from None


def keep_diverged(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, step: int) -> None:
    """Writes diverged.ckpt: the state in which the loss stopped being finite, for inspection."""
    state = {"epoch": epoch, "step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    write_whole(folder / runs.DIVERGED, lambda file: torch.save(state, file))


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
