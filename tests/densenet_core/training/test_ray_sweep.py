"""A sweep on a local Ray cluster of two machines, one of which dies half-way."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from densenet_core.errors import RunError
from densenet_core.training.config import TrainingConfig
from densenet_core.training.ray_sweep import run_sweep_on_ray
from densenet_core.training.runs.files import read_metrics
from densenet_core.training.runs.status import read_summary

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")]
EPOCHS = 8
BASE = TrainingConfig("densenet-7-2", "digits", "demo", epochs=EPOCHS, batch_size=256)


def test_no_cluster_at_the_address() -> None:  # before one is there
    with pytest.raises(RunError, match=r"there is no Ray cluster at --ray-address 'here:1'"):
        run_sweep_on_ray([], "here:1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and one machine more, each with one CPU."""
    import ray  # here: importing it takes seconds, in every process that collects the tests
    from ray.cluster_utils import Cluster

    settings = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_period_ms": "500",
    }
    node = {"num_cpus": 1, "object_store_memory": 80_000_000}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        cluster.add_node(**node)
        cluster.connect()
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def remove_once_it_trains(cluster: Any, log: Path) -> threading.Thread:
    """Kills the second machine when it has finished its third epoch."""
    (machine,) = cluster.worker_nodes

    def watch() -> None:
        while not (log.exists() and f"{machine.node_id} 3\n" in log.read_text()):
            time.sleep(0.05)
        cluster.remove_node(machine, allow_graceful=False)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_training_that_fails_is_named_and_the_others_end(cluster: Any, tmp_path: Path) -> None:
    base = replace(BASE, name="good", epochs=1, runs_dir=str(tmp_path))
    bad = replace(base, name="bad", dataset="cifar10", data=str(tmp_path))
    with pytest.raises(RunError, match=r"1 of 2 trainings failed; bad: .*data set cifar10 is not under"):
        run_sweep_on_ray([bad, base], "auto", cpus=1)
    assert read_summary(tmp_path / "good").state == "finished"


def test_when_a_machine_dies_all_trainings_end_and_none_is_done_twice(cluster: Any, tmp_path: Path) -> None:
    log, ended = tmp_path / "log.txt", []

    def on_epoch(folder: Path, _: object, metrics: list[Any]) -> None:
        import ray

        with log.open("a") as file:
            file.write(f"{folder.name} {ray.get_runtime_context().get_node_id()} {metrics[-1].epoch}\n")

    configs = [replace(BASE, name=f"seed{seed}", seed=seed, runs_dir=str(tmp_path)) for seed in range(3)]
    killer = remove_once_it_trains(cluster, log)
    folders = run_sweep_on_ray(configs, "auto", cpus=1, on_run=ended.append, on_epoch=on_epoch)
    killer.join(timeout=1)
    assert not killer.is_alive()
    assert folders == [tmp_path / config.name for config in configs]
    assert sorted(ended) == folders
    for folder in folders:
        assert read_summary(folder).state == "finished"
        epochs = [metric.epoch for metric in read_metrics(folder / "metrics.csv") if metric.split == "test"]
        assert epochs == list(range(1, EPOCHS + 1))
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len({machine for _, machine, _ in lines}) == 2
    done = Counter((name, epoch) for name, _, epoch in lines)
    # The killed training may have had to do the epoch again that it was about to write; nothing else.
    assert sum(count - 1 for count in done.values()) <= 1
