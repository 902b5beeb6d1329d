"""How long an epoch of a new run takes, from the runs that this machine has trained."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from analysis.architecture.cost import count_cost, total_cost, usual_input_size
from app.dashboard.keys import stamp_of
from densenet_core.files import read_json_object
from densenet_core.networks.names import spec_from_name
from densenet_core.training.config import TrainingConfig
from densenet_core.training.runs.files import CONFIG, OWNER, SUMMARY, read_config
from densenet_core.training.runs.status import read_summary


def seconds_per_epoch(config: TrainingConfig, folders: Sequence[Path]) -> float | None:
    """Return about how long an epoch takes, by the run on the same data whose network costs most nearly the same.

    Returns:
        None where this machine has trained no network on these data.
    """
    size = usual_input_size(spec_from_name(config.arch), {})
    cost = _cost(config.arch, size)
    known = [found for folder in folders if (found := _measured(config, folder, size)) is not None]
    if not known:
        return None
    seconds, other = min(known, key=lambda found: max(found[1] / cost, cost / found[1]))
    return seconds * cost / other


class Taken(NamedTuple):
    """What a run's files say of the time that it took."""

    arch: str
    dataset: str
    data: str
    host: str
    seconds_per_epoch: float | None


def _measured(config: TrainingConfig, folder: Path, size: int) -> tuple[float, float] | None:
    """Return the seconds of a run's epoch and the cost of its network; None where they say nothing of this one's."""
    try:
        stamps = tuple(stamp_of(folder / name) for name in (CONFIG, OWNER, SUMMARY))
        run = _read(folder, stamps)
        is_same = run.dataset == config.dataset and (config.dataset != "folder" or run.data == config.data)
        if not is_same or run.host != platform.node() or not run.seconds_per_epoch:
            return None
        return run.seconds_per_epoch, _cost(run.arch, size)
    except (OSError, ValueError, KeyError, TypeError):  # damaged, or of another version
        return None


@lru_cache(4096)  # the page asks for all runs at each drawing
def _read(folder: Path, stamps: tuple[tuple[int, int], ...]) -> Taken:
    """Read a run's files, anew where their times or sizes have changed."""
    run, owner = read_config(folder), read_json_object(folder / OWNER)
    seconds = read_summary(folder).seconds_per_epoch
    return Taken(run["arch"], run["dataset"], run["data"], owner["host"], seconds)


@lru_cache(256)
def _cost(arch: str, size: int) -> float:
    return float(total_cost(count_cost(spec_from_name(arch), size))["mult_adds"])
