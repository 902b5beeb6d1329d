"""Save the state of a training after every epoch, and restore it.

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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from densenet_core.checkpoints.checkpoint import load_checkpoint, read_header, save_checkpoint
from densenet_core.errors import CheckpointError, RunError, own_words
from densenet_core.networks.network import Network
from densenet_core.training.runs import files
from densenet_core.training.runs.files import DIVERGED, LAST, METRICS, PREVIOUS, WEIGHTS, Metric, metric_from
from densenet_core.training.runs.saving import Finished, Session, to_checkpoint
from densenet_core.training.runs.status import MAX_COUNT

logger = logging.getLogger(__name__)


def has_state(folder: Path) -> bool:
    """Return whether the run has finished an epoch; its state may be damaged."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def resume(folder: Path) -> Finished:
    """Return the newest whole state; metrics.csv is rebuilt from it where it differs.

    Raises:
        RunError: no state is whole, or there is none but the weights of an unfinished run.
    """
    (folder / DIVERGED).unlink(missing_ok=True)
    return finished_in(folder, newest_state(folder, promote=True))


def finished_in(folder: Path, state: dict[str, Any] | None) -> Finished:
    """Return what a run has finished, given its newest state; the rest is that of ``resume``."""
    if state is None:
        return _finished_without_state(folder)
    epoch = int(state["epoch"])
    metrics, kept = _restore_metrics(folder, state, epoch), dict(state.get("kept", {}))
    start = state.get("record", {}).get("started_from")  # the file of the weights may be gone
    return Finished(epoch, metrics, state, _sessions(state, epoch), kept, start)


def _finished_without_state(folder: Path) -> Finished:
    """Return all epochs where model.safetensors is of the last one, else none: then it must not be worth keeping.

    A training that is killed in its first epoch's last moment leaves weights of one epoch and no state.
    """
    nothing = Finished(0, [], None, [_session(0)])
    try:
        record = read_header(folder)[1]
    except CheckpointError:  # missing, or damaged
        return nothing
    epochs = record.get("epochs")
    if isinstance(epochs, int) and epochs == record.get("epochs_planned"):
        return Finished(epochs, _rows_on_disk(folder)[0], None, nothing.sessions)
    if epochs == 1:
        return nothing
    raise RunError(
        f"the run in {str(folder)!r} has the weights of {epochs} epochs ({WEIGHTS}) but no {LAST} to resume from: "
        f"choose another name, and --initial-weights {str(folder)!r} to train them further"
    )


def _rows_on_disk(folder: Path) -> tuple[list[Metric], int]:
    """Return the whole rows of metrics.csv, and the number of damaged ones; none of a file that can't be read."""
    try:
        return files.read_whole_metrics(folder / METRICS)
    except RunError:
        return [], 0


def newest_state(folder: Path, promote: bool = False) -> dict[str, Any] | None:
    """Return the newest whole state; ``promote`` puts it in the place of a damaged one, so that it is not replaced."""
    reasons: list[str] = []
    for name in (LAST, PREVIOUS):
        if not (folder / name).is_file():
            continue
        try:
            state = _read_state(folder / name)
        except Exception as error:  # torch and zipfile raise many kinds on damaged files
            reasons.append(f"{name}: {own_words(error, 'it is cut short or damaged')}")
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
            raise RunError(f"the checksum of {damaged} does not match")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not _is_state(state):
        raise RunError("it is not the state of a training")
    state["metrics"] = [metric_from(_without_none(row)) for row in state["metrics"]] if "metrics" in state else None
    if state["metrics"] is not None and [row.epoch for row in state["metrics"][-1:]] != [state["epoch"]]:
        raise RunError("its last row of metrics is of another epoch")
    return state


def _is_state(state: Mapping[str, Any]) -> bool:
    """Return whether the entries are of their kinds, and fit into the files made from them; older states lack some."""
    kinds = {"model": dict, "optimizer": dict, "metrics": list, "config": dict, "record": dict, "sessions": list}
    kinds |= {"kept": dict}
    wrong = [key for key, kind in kinds.items() if key in state and not isinstance(state[key], kind)]
    if wrong or not {"model", "optimizer"} <= set(state):
        return False
    epoch, entries = state.get("epoch"), [*state.get("metrics", []), *state.get("sessions", [])]
    is_count = isinstance(epoch, int) and not isinstance(epoch, bool) and 1 <= epoch <= MAX_COUNT
    shapes = [_shapes(state[key]) for key in ("model", "kept") if state.get(key)]
    is_plain = _is_plain([state.get(key) for key in ("config", "record", "sessions")])
    is_same = all(each is not None and each == shapes[0] for each in shapes)
    return is_count and is_plain and is_same and all(isinstance(entry, dict) for entry in entries)


def _is_plain(value: Any) -> bool:
    """Return whether JSON can hold a value."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _shapes(tensors: Mapping[str, Any]) -> dict[str, torch.Size] | None:
    """Return the tensors' shapes by name; None where one is not a tensor."""
    is_named = all(isinstance(key, str) and isinstance(value, Tensor) for key, value in tensors.items())
    return {key: value.shape for key, value in tensors.items()} if is_named else None


def _without_none(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


def _restore_metrics(folder: Path, state: Mapping[str, Any], epoch: int) -> list[Metric]:
    rows, num_damaged = _rows_on_disk(folder)
    on_disk = [row for row in rows if row.epoch <= epoch]
    metrics: list[Metric] | None = state["metrics"]
    if metrics is None:  # written before states held the rows
        if len({row.epoch for row in on_disk}) < epoch:
            logger.warning("%s lacks epochs before %s; they can't be restored", folder / METRICS, epoch + 1)
        return on_disk
    if num_damaged or on_disk != metrics:
        logger.warning("%s was damaged or missing: rebuilt from %s", folder / METRICS, LAST)
        files.write_metrics(folder / METRICS, metrics)
    return metrics


def _session(epoch: int) -> Session:
    return {"first_epoch": epoch + 1, "torch": str(torch.__version__), "threads": torch.get_num_threads()}


def _sessions(state: Mapping[str, Any], epoch: int) -> list[Session]:
    """Return the run's sessions, with this one if it differs from the last in what may change rounding."""
    before, now = list(state.get("sessions", [])), _session(epoch)
    if not before:
        return [now]
    if epoch == state.get("config", {}).get("epochs"):
        return before
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
        _load_momentum(state["optimizer"], optimizer)
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = own_words(error, "it belongs to another network")
        raise RunError(f"{str(folder / LAST)!r} does not fit the network ({reason}): use another name") from error


def _load_momentum(saved: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Restore the momentum; the rates and the like are those of the settings.

    Raises:
        RunError: it belongs to other parameters.
    """
    own = optimizer.state_dict()
    if [group["params"] for group in saved["param_groups"]] != [group["params"] for group in own["param_groups"]]:
        raise RunError("the momentum belongs to other parameters")
    optimizer.load_state_dict({"state": saved["state"], "param_groups": own["param_groups"]})
    for parameter, values in optimizer.state.items():
        buffer = values.get("momentum_buffer")
        if buffer is not None and (not isinstance(buffer, Tensor) or buffer.shape != parameter.shape):
            raise RunError("the momentum belongs to other parameters")


def restore_weights(folder: Path, state: Mapping[str, Any] | None, model: Network) -> None:
    """Write model.safetensors again if it is missing or damaged; ``model`` holds the weights of the last epoch."""
    if state is None or "record" not in state:
        return
    try:
        load_checkpoint(folder / WEIGHTS)
    except (CheckpointError, OSError):
        logger.warning("%s was damaged or missing: rebuilt from %s", folder / WEIGHTS, LAST)
        save_checkpoint(to_checkpoint(model, state["record"], state.get("kept")), folder / WEIGHTS)
