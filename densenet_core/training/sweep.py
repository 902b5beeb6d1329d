"""Train a grid of networks and seeds from a TOML file, one run after the other, resumable at any point."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from densenet_core.errors import RunError
from densenet_core.files import read_small
from densenet_core.networks.names import spec_from_name
from densenet_core.training.config import TrainingConfig, config_from, recipe_config, training_settings
from densenet_core.training.loop import OnEpoch, train
from densenet_core.training.progress import ProgressStyle

MAX_RUNS = 10_000
_PLACE = re.compile(r"at line (\d+), column (\d+)")  # in an error of tomllib


def load_sweep(path: str | os.PathLike[str], runs_dir: str = "runs", data: str = "data") -> list[TrainingConfig]:
    """Return the runs of a sweep: each network of ``archs`` with each seed of ``seeds``, in ``runs_dir``/<file's name>.

    Settings that [training] lacks are those of its ``recipe``, else the defaults of ``TrainingConfig``.

    Raises:
        RunError: the file can't be read, or holds an unknown setting, a wrong value or an unknown network.
    """
    file = Path(path)
    content = _read(file)
    archs: Any = content.get("archs")
    seeds: Any = content.get("seeds", [0])
    common: Any = content.get("training", {})
    _check_grid(file, content, archs, seeds)
    _check_settings(file, common)
    try:
        for arch in archs:
            spec_from_name(arch)
        place = {"runs_dir": str(Path(runs_dir) / file.stem), "data": data}
        configs = [_config(arch, seed, common | place) for arch in archs for seed in seeds]
        for config in configs:
            spec_from_name(config.arch, drop_rate=config.drop_rate)
    except TypeError as error:
        raise RunError(f"{file.name}: a setting is of the wrong type") from error
    except ValueError as error:
        raise RunError(f"{file.name}: {error}") from error
    return configs


def _check_grid(file: Path, content: dict[str, Any], archs: Any, seeds: Any) -> None:
    for name, values in (("archs", archs), ("seeds", seeds)):
        if not isinstance(values, list) or not values or len(set(map(str, values))) < len(values):
            raise RunError(f"{file.name}: {name} must be a list of one or more different entries")
    if not all(isinstance(arch, str) for arch in archs):
        raise RunError(f"{file.name}: archs must be names of networks, in quotes")
    if unknown := sorted(set(content) - {"archs", "seeds", "training"}):
        raise RunError(f"{file.name}: unknown entry {unknown[0]!r}: choose from archs, seeds and [training]")
    if len(archs) * len(seeds) > MAX_RUNS:
        raise RunError(f"{file.name}: {len(archs) * len(seeds):,} runs are more than {MAX_RUNS:,}: split the sweep")


def _check_settings(file: Path, common: Any) -> None:
    if not isinstance(common, dict) or "dataset" not in common:
        raise RunError(f"{file.name}: [training] must name the dataset")
    given = {"arch", "seed", "name", "runs_dir", "data"}
    known = {each.name for each in training_settings()} - given
    if unknown := sorted(set(common) - known):
        raise RunError(
            f"{file.name}: unknown setting {unknown[0]!r} in [training]: choose from {', '.join(sorted(known))}"
        )


def _config(arch: str, seed: int, common: dict[str, Any]) -> TrainingConfig:
    values = common | {"arch": arch, "seed": seed, "name": f"{arch}-seed{seed}"}
    return recipe_config(**values) if "recipe" in common else config_from(values)


def run_sweep(
    configs: list[TrainingConfig],
    show_progress: ProgressStyle | bool = True,
    on_run: Callable[[Path], object] = lambda folder: None,
    on_epoch: OnEpoch | None = None,
) -> list[Path]:
    """Train every configuration that is not trained yet and return all run folders."""
    folders = []
    for config in configs:
        folders.append(train(config, show_progress, on_epoch))
        on_run(folders[-1])
    return folders


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_small(file).decode("utf-8-sig"))
    except OSError as error:
        raise RunError(f"can't read {str(file)!r}: {error.strerror}") from error
    except RecursionError as error:
        raise RunError(f"{str(file)!r} is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        where = f"line {place[1]}, column {place[2]} can't be read" if place else "its end is missing"
        raise RunError(f"{str(file)!r} is not a TOML file: {where}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{str(file)!r} is not a TOML file: save it as text in UTF-8") from error
    except ValueError as error:
        raise RunError(f"{str(file)!r} can't be read: {error}") from error
