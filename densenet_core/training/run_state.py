"""How the state of a training is saved after every epoch, and restored.

last.ckpt holds all that is needed to resume: weights, optimizer state, the rows of metrics.csv, the settings and the
record. It is written last, after the files that are read by people and pages, and the one before it is kept as
previous.ckpt. So metrics.csv, config.json and model.safetensors can be rebuilt, and a damaged last.ckpt costs an epoch.
A run can be interrupted at any point, also by a power failure, and resumes after its last finished epoch or the one
before.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from densenet_core.checkpoints.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from densenet_core.errors import CheckpointError, RunError, first_line
from densenet_core.files import remove_temporaries, write_whole
from densenet_core.networks.network import Network
from densenet_core.training import run_folder
from densenet_core.training.config import PLACE_FIELDS, TrainingConfig
from densenet_core.training.run_folder import CONFIG, DIVERGED, LAST, METRICS, PREVIOUS, WEIGHTS, Metric, metric_from
from densenet_core.training.run_status import RunSummary, write_summary

logger = logging.getLogger(__name__)
Session = dict[str, Any]  # the epoch at which it began, and what may change the rounding of its numbers


def make_folder(config: TrainingConfig) -> Path:
    """Make the run folder.

    Raises:
        RunError: it can't be written.
    """
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(config.folder, error) from error
    return config.folder


def claim_folder(config: TrainingConfig) -> None:
    """Write the settings into a new run folder, or check that the run in it has the same.

    Only for the process that holds the run's lock.

    Raises:
        RunError: the folder holds a run with other settings, or can't be written.
    """
    folder, asked = config.folder, _plain(asdict(config))
    try:
        remove_temporaries(folder)
        if not any((folder / name).exists() for name in (LAST, PREVIOUS, WEIGHTS)):
            _write_if_unreadable(folder, asked)  # no epoch is finished
        found = recover_config(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    # A setting that is newer than the run has its default value there.
    defaults = {each.name: each.default for each in fields(config) if each.default is not MISSING}
    found = defaults | found
    differing = sorted(key for key in asked if key not in PLACE_FIELDS and _plain(found.get(key)) != asked[key])
    if differing:
        key = differing[0]
        raise RunError(
            f"the run {config.name!r} was started with {key} {_plain(found.get(key))!r}, not {asked[key]!r}: "
            "use the same settings to resume it, or another name"
        )


def _write_if_unreadable(folder: Path, asked: Mapping[str, Any]) -> None:
    try:
        run_folder.read_config(folder)
    except RunError:
        run_folder.write_config(folder, asked)


def recover_config(folder: Path) -> dict[str, Any]:
    """Return the settings of a run; a damaged or missing config.json is restored from the run's other files.

    Raises:
        RunError: no file of the run holds its settings.
    """
    try:
        return run_folder.read_config(folder)
    except RunError as error:
        found = _settings_in_state(folder) or _settings_in_weights(folder)
        if found is None:
            raise error
        logger.warning("%s was damaged or missing: restored from the run's other files", folder / CONFIG)
        run_folder.write_config(folder, found)
        return found


def _settings_in_state(folder: Path) -> dict[str, Any] | None:
    try:
        state = _newest_state(folder)
    except RunError:
        return None
    return None if state is None else state.get("config")


def _settings_in_weights(folder: Path) -> dict[str, Any] | None:
    """Of a run whose state is older than the settings in it: the recipe in the record of its weights."""
    try:
        recipe = load_checkpoint(folder / WEIGHTS).record["recipe"]
    except (CheckpointError, OSError, KeyError):
        return None
    return dict(recipe) | {"name": folder.name} if isinstance(recipe, dict) else None


@dataclass(frozen=True)
class Finished:
    """What a run folder holds of the finished epochs."""

    epoch: int  # 0 where none is finished
    metrics: list[Metric]
    state: dict[str, Any] | None  # None where no epoch is finished
    sessions: list[Session]  # with this one, where its numbers may be rounded in another way
    kept: dict[str, Any] = field(default_factory=dict)  # the weights of an earlier epoch that the run keeps


def resume(folder: Path) -> Finished:
    """Return the newest whole state; metrics.csv is rebuilt from it where it differs.

    Raises:
        RunError: no state is whole.
    """
    (folder / DIVERGED).unlink(missing_ok=True)
    state = _newest_state(folder, promote=True)
    if state is None:
        return Finished(0, [], None, [_session(0)])
    epoch = int(state["epoch"])
    metrics, kept = _restored_metrics(folder, state, epoch), dict(state.get("kept", {}))
    return Finished(epoch, metrics, state, _sessions(state, epoch), kept)


def _newest_state(folder: Path, promote: bool = False) -> dict[str, Any] | None:
    """Return the newest whole state; ``promote`` puts it in the place of a damaged one, so that it is not replaced."""
    reasons: list[str] = []
    for name in (LAST, PREVIOUS):
        if not (folder / name).is_file():
            continue
        try:
            state = _read_state(folder / name)
        except Exception as error:  # torch and zipfile raise many kinds on damaged files
            reasons.append(f"{name}: {first_line(error)}")
            continue
        if name == PREVIOUS and promote:
            words = f"{LAST} is damaged" if reasons else f"{LAST} is missing"
            logger.warning("%s: %s; resuming from %s (epoch %s)", folder, words, PREVIOUS, state["epoch"])
            (folder / PREVIOUS).replace(folder / LAST)
        return state
    if reasons:
        raise RunError(
            f"the state of the run in {str(folder)!r} can't be read ({'; '.join(reasons)}): "
            "restore the file from a backup, or start a new run with another name"
        )
    return None


def _read_state(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:  # torch.save writes a CRC-32 per tensor, which torch.load does not check
        if damaged := archive.testzip():
            raise ValueError(f"the checksum of {damaged} does not match")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not _is_state(state):
        raise ValueError("it is not the state of a training")
    state["metrics"] = [metric_from(_without_none(row)) for row in state["metrics"]] if "metrics" in state else None
    return state


def _is_state(state: Mapping[str, Any]) -> bool:
    """Return whether the entries are of their kinds; older states lack some."""
    kinds = {"model": dict, "optimizer": dict, "metrics": list, "config": dict, "record": dict, "sessions": list}
    kinds |= {"kept": dict}
    wrong = [key for key, kind in kinds.items() if key in state and not isinstance(state[key], kind)]
    epoch, entries = state.get("epoch"), [*state.get("metrics", []), *state.get("sessions", [])] if not wrong else []
    is_whole = {"model", "optimizer"} <= set(state) and all(isinstance(entry, dict) for entry in entries)
    return not wrong and is_whole and isinstance(epoch, int) and not isinstance(epoch, bool) and epoch >= 1


def _without_none(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


def _restored_metrics(folder: Path, state: Mapping[str, Any], epoch: int) -> list[Metric]:
    try:
        rows, num_damaged = run_folder.read_whole_metrics(folder / METRICS)
    except RunError:
        rows, num_damaged = [], 0
    on_disk = [row for row in rows if row.epoch <= epoch]
    metrics: list[Metric] | None = state["metrics"]
    if metrics is None:  # written before states held the rows
        if {row.epoch for row in on_disk} != set(range(1, epoch + 1)):
            logger.warning("%s lacks epochs before %s; they can't be restored", folder / METRICS, epoch + 1)
        return on_disk
    if num_damaged or on_disk != metrics:
        logger.warning("%s was damaged or missing: rebuilt from %s", folder / METRICS, LAST)
        run_folder.write_metrics(folder / METRICS, metrics)
    return metrics


def _session(epoch: int) -> Session:
    return {"first_epoch": epoch + 1, "torch": str(torch.__version__), "threads": torch.get_num_threads()}


def _sessions(state: Mapping[str, Any], epoch: int) -> list[Session]:
    """Return the run's sessions, with this one if it differs from the last in what may change rounding."""
    before, now = list(state.get("sessions", [])), _session(epoch)
    if not before:
        return [now]
    changed = [key for key in ("torch", "threads") if before[-1].get(key) != now[key]]
    if not changed:
        return before
    words = ", ".join(f"{key} {now[key]} instead of {before[-1].get(key)}" for key in changed)
    logger.warning("resuming with %s: from epoch %s on, numbers may be rounded differently", words, epoch + 1)
    return [*before, now]


def load_state(folder: Path, state: dict[str, Any] | None, model: Network, optimizer: torch.optim.Optimizer) -> None:
    """Restore the weights and the optimizer's state, if there are any, and model.safetensors if it is damaged.

    Raises:
        RunError: they do not fit this network.
    """
    if state is None:
        return
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = first_line(error)
        raise RunError(f"{str(folder / LAST)!r} does not fit the network ({reason}): use another name") from error


def restore_weights(folder: Path, state: Mapping[str, Any] | None, model: Network) -> None:
    """Write model.safetensors again if it is missing or damaged; ``model`` holds the weights of the last epoch."""
    if state is None or "record" not in state:
        return
    try:
        load_checkpoint(folder / WEIGHTS)
    except (CheckpointError, OSError):
        logger.warning("%s was damaged or missing: rebuilt from %s", folder / WEIGHTS, LAST)
        save_checkpoint(_checkpoint(model, state["record"], state.get("kept")), folder / WEIGHTS)


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
        "config": _plain(asdict(config)),
        "record": _plain(record),
        "sessions": finished.sessions,
        **({"kept": finished.kept} if finished.kept else {}),
    }
    try:
        run_folder.write_metrics(folder / METRICS, metrics)
        save_checkpoint(_checkpoint(model, record, finished.kept), folder / WEIGHTS)
        write_summary(folder, _summary(record))
        write_whole(folder / LAST, lambda file: torch.save(state, file), keep=folder / PREVIOUS)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk by a RuntimeError
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: Exception) -> RunError:
    """Return the error for a run folder that can't be written, or is gone."""
    if isinstance(error, FileNotFoundError) and not folder.is_dir():
        return RunError(
            f"the run folder {str(folder)!r} was deleted during the training: run the same command again to start anew"
        )
    return RunError(f"can't write the run folder {str(folder)!r}: {error}")


def check_folder(folder: Path) -> None:
    """Raises RunError where the run folder was deleted."""
    if not folder.is_dir():
        raise unwritable(folder, FileNotFoundError())


def keep_diverged(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, step: int) -> None:
    """Write diverged.ckpt: the state at which the loss stopped being finite, for inspection."""
    state = {"epoch": epoch, "step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    try:
        write_whole(folder / DIVERGED, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:
        raise unwritable(folder, error) from error


def _checkpoint(model: Network, record: Mapping[str, Any], kept: Mapping[str, Any] | None) -> Checkpoint:
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


def _plain(value: Any) -> Any:
    """Return a value after a round trip through JSON."""
    return json.loads(json.dumps(value))
