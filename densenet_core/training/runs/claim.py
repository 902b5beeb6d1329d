"""Make a run folder, and check that the run in it has the same settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from densenet_core.checkpoints.checkpoint import load_checkpoint
from densenet_core.errors import CheckpointError, RunError
from densenet_core.files import remove_temporaries
from densenet_core.training.config import PLACE_FIELDS, TrainingConfig, is_complete
from densenet_core.training.runs import files
from densenet_core.training.runs.files import CONFIG, WEIGHTS, to_json_values
from densenet_core.training.runs.saving import unwritable
from densenet_core.training.runs.state import has_state, newest_state

logger = logging.getLogger(__name__)


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
    folder, asked = config.folder, to_json_values(asdict(config))
    _check_files(folder)
    try:
        remove_temporaries(folder)
        if not has_state(folder) and not (folder / WEIGHTS).exists():  # no other file has the settings
            _write_if_unreadable(folder, asked)
        found = recover_config(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    # A setting that is newer than the run has its default value there.
    defaults = {each.name: each.default for each in fields(config) if each.default is not MISSING}
    found = defaults | found
    places = {"name", *PLACE_FIELDS}  # a run that was renamed, moved or copied is still the same
    differing = sorted(key for key in asked if key not in places and to_json_values(found.get(key)) != asked[key])
    if differing:
        key = differing[0]
        raise RunError(
            f"the run {config.name!r} was started with {key} {to_json_values(found.get(key))!r}, not {asked[key]!r}: "
            "use the same settings to resume it, or another name"
        )


def _check_files(folder: Path) -> None:
    """Raise RunError if a folder is in the place of a file, before an epoch is trained that can't be saved."""
    for name in files.WRITTEN:
        if (folder / name).is_dir():
            raise RunError(f"{str(folder / name)!r} is a folder in the place of a file: move it away to train the run")


def _write_if_unreadable(folder: Path, asked: Mapping[str, Any]) -> None:
    try:
        files.read_config(folder)
    except RunError:
        files.write_config(folder, asked)


def recover_config(folder: Path) -> dict[str, Any]:
    """Return the settings of a run; a damaged, incomplete or missing config.json is restored from the other files.

    Raises:
        RunError: no file of the run holds its settings.
    """
    try:
        found = files.read_config(folder)
    except RunError as error:
        restored = _settings_in_state(folder) or _settings_in_weights(folder)
        if restored is None:
            raise error
    else:
        if is_complete(found):
            return found
        restored = (_settings_in_state(folder) or {}) | found
        if restored == found:  # written before there were more settings
            return found
    logger.warning("%s was damaged, incomplete or missing: restored from the run's other files", folder / CONFIG)
    files.write_config(folder, restored)
    return restored


def _settings_in_state(folder: Path) -> dict[str, Any] | None:
    try:
        state = newest_state(folder)
    except RunError:
        return None
    return None if state is None else state.get("config")


def _settings_in_weights(folder: Path) -> dict[str, Any] | None:
    """Return the recipe in the record of the weights, for a run whose state is older than the settings in it."""
    try:
        recipe = load_checkpoint(folder / WEIGHTS).record["recipe"]
    except (CheckpointError, OSError, KeyError):
        return None
    return dict(recipe) | {"name": folder.name} if isinstance(recipe, dict) else None
