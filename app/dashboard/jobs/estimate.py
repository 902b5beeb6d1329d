"""How much work a task is, and how long it takes where none of its kind was done before: by one forward pass."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from analysis.architecture.cost import count_cost, total_cost
from analysis.reuse.measures import needs_cuts
from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.jobs.task import Task
from app.dashboard.keys import ImagesKey, NetworkKey
from densenet_core.networks.spec import Spec

if TYPE_CHECKING:
    from densenet_core import Checkpoint

START_SECONDS = 3.0  # until a process has imported torch
COST_OF_TRIAL = 1e9  # mult_adds of the forward pass that is timed, so that the page does not wait
MAX_BATCH = 32
REPEATS = 2  # the first pass allocates memory

# Forward passes of one image that a kind of work takes about as long as, from the number n of images and the
# connections c of the network; measured on DenseNets of depth 7, 40 and 76 on a CPU, within a factor of 2.
PASSES: dict[str, Callable[[int, int], float]] = {
    "measured": lambda n, c: 5 * n,
    "ablation": lambda n, c: 0.3 * c * n,
    "pruning": lambda n, c: 50 * n,  # for each order
    "claims": lambda n, c: 60 * n,
    "gradients": lambda n, c: 1000,  # of a fixed number of images
    "path_shares": lambda n, c: 8 * c,
    "by_class": lambda n, c: 0.3 * c * n,
    "predicted": lambda n, c: 2 * n,
    "lens": lambda n, c: 2 * n,
    "probes": lambda n, c: 30 * n,
    "similarity": lambda n, c: 6 * n,
    "drives": lambda n, c: 1.5 * n,
    "cuts": lambda n, c: 1.5 * c,
    "paths": lambda n, c: 100,
}


def rough_seconds(task: Task) -> float | None:
    """Return about how long a task takes, to one digit; None where that is not known before it runs."""
    kind = "ablation" if _is_ablation(task) else task.kind
    if kind not in PASSES:
        return None
    images = _images(task)
    passes = PASSES[kind](images.number if images else 1, _count_connections(task.networks[0]))
    if kind == "pruning":
        passes *= len(task.options[0])
    size = _pixels(task, images)
    return _to_one_digit(START_SECONDS + passes * sum(seconds_per_image(key, size) for key in task.networks))


def work_size(task: Task) -> float:
    """Return the size of the work on images: mult_adds, as often as there are connections to cut.

    0 for other work, which takes about as long on the same network.
    """
    images = _images(task)
    if task.network is None or images is None:
        return 0.0
    return loading.cost_of(task.network, images) * (_count_connections(task.network) if _is_ablation(task) else 1)


def _images(task: Task) -> ImagesKey | None:
    return next((each for each in task.options if isinstance(each, ImagesKey)), None)


def _is_ablation(task: Task) -> bool:
    return task.kind == "measured" and needs_cuts(task.options[0])


def _count_connections(key: NetworkKey) -> int:
    """Return the connections of a network; 0 where it does not concatenate."""
    try:
        return len(loading.measured_table(key, (), None))
    except ValueError:
        return 0


def _pixels(task: Task, images: ImagesKey | None) -> tuple[int, ...]:
    """Return the pixels of an image: of the data set, or of the one that the task holds."""
    spec = loading.load(task.networks[0]).architecture
    if images is None:
        shape: tuple[int, ...] = task.options[1]  # (1, C, *spatial)
        return shape[2:]
    return (loading.images_size(images),) * spec.spatial_dims


@cache(64)
def seconds_per_image(key: NetworkKey, size: tuple[int, ...]) -> float:
    """Return how long this machine takes for a forward pass of an image of this size, in a batch."""
    import torch

    network = loading.load(key)
    batch = torch.zeros(_batch_size(network.architecture, size), network.architecture.in_channels, *size)
    return min(_pass_seconds(network, batch)) / len(batch)


def _batch_size(spec: Spec, size: tuple[int, ...]) -> int:
    cost = float(total_cost(count_cost(spec, size[-1]))["mult_adds"])
    return max(1, min(MAX_BATCH, int(COST_OF_TRIAL / cost)))


def _pass_seconds(network: Checkpoint, batch: Any) -> list[float]:
    import torch

    model, seconds = network.to_model().eval(), []
    with torch.inference_mode():
        for _ in range(REPEATS):
            begun = time.perf_counter()
            model(batch)
            seconds.append(time.perf_counter() - begun)
    return seconds


def _to_one_digit(seconds: float) -> float:
    """Return a number rounded to its first digit: more would claim to be exact.

    >>> [_to_one_digit(seconds) for seconds in (3.2, 47.0, 1260.0)]
    [3.0, 50.0, 1000.0]
    """
    unit = 10 ** math.floor(math.log10(seconds))
    return float(round(seconds / unit) * unit)
