"""A grid of trainings from a TOML file, one run after the other; started again, it goes on where it stopped."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from densenet_core.errors import RunError
from densenet_core.networks.names import spec_from_name
from densenet_core.training.config import TrainingConfig, config_from, training_settings
from densenet_core.training.loop import OnEpoch, train


def load_sweep(path: str | os.PathLike[str], runs_dir: str = "runs", data: str = "data") -> list[TrainingConfig]:
    """The runs of a sweep: every network of ``archs`` with every seed of ``seeds``, under ``runs_dir``/<file's name>.

    Raises:
        RunError: the file can't be read, or holds an unknown field, a wrong value or an unknown network.
    """
    file = Path(path)
    content = _read(file)
    archs: Any = content.get("archs")
    seeds: Any = content.get("seeds", [0])
    common: Any = content.get("training", {})
    for name, values in (("archs", archs), ("seeds", seeds)):
        if not isinstance(values, list) or not values or len(set(map(str, values))) < len(values):
            raise RunError(f"{file.name}: {name} must be a list of one entry or more, none of them twice")
    if unknown := sorted(set(content) - {"archs", "seeds", "training"}):
        raise RunError(f"{file.name}: unknown entry {unknown[0]!r}: known are archs, seeds and [training]")
    if not isinstance(common, dict) or "dataset" not in common:
        raise RunError(f"{file.name}: [training] must name the dataset")
    given = {"arch", "seed", "name", "runs_dir", "data"}
    known = {each.name for each in training_settings()} - given
    if unknown := sorted(set(common) - known):
        raise RunError(f"{file.name}: unknown field {unknown[0]!r} in [training]: known are {', '.join(sorted(known))}")
    try:
        for arch in archs:
            spec_from_name(arch, drop_rate=common.get("drop_rate", 0.0))
        return [
            config_from(
                common
                | {
                    "arch": arch,
                    "seed": seed,
                    "name": f"{arch}-seed{seed}",
                    "runs_dir": str(Path(runs_dir) / file.stem),
                    "data": data,
                }
            )
            for arch in archs
            for seed in seeds
        ]
    except (TypeError, ValueError) as error:
        raise RunError(f"{file.name}: {error}") from None


def run_sweep(
    configs: list[TrainingConfig],
    show_progress: bool = True,
    on_run: Callable[[Path], object] = lambda folder: None,
    on_epoch: OnEpoch | None = None,
) -> list[Path]:
    """Trains every configuration that is not trained yet and returns all run folders."""
    folders = []
    for config in configs:
        folders.append(train(config, show_progress, on_epoch))
        on_run(folders[-1])
    return folders


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise RunError(f"can't read {str(file)!r}: {error.strerror}") from None
    except ValueError as error:  # no TOML, or no text
        raise RunError(f"{file.name} is no TOML file: {error}") from None
