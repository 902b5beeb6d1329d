"""A sweep on a Ray cluster: each training a task of its own, done again elsewhere when its machine dies.

The folders of runs and data must be the same on all machines (a shared file system), and the suite installed on them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from densenet_core.errors import RunError
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import OnEpoch, train

PATIENCE_S = 60.0  # for the process on a dying machine to let go of its run


def run_sweep_on_ray(
    configs: list[TrainingConfig],
    address: str,
    cpus: float = 2,
    gpus: float = 0,
    on_run: Callable[[Path], object] = lambda folder: None,
    on_epoch: OnEpoch | None = None,
) -> list[Path]:
    """Trains every configuration that is not trained yet and returns all run folders.

    Args:
        address: of the cluster: HOST:PORT, ``auto`` for the one that this machine belongs to, ``local`` for a new one.
        cpus, gpus: what a training takes of a machine.
        on_run: called here with the folder of each run that ends.
        on_epoch: as ``train``'s; called where the training runs.

    Raises:
        RunError: Ray is not installed, there is no cluster at the address, or trainings failed (after all others have
            ended; the first is named).
    """
    ray = _connected(address)
    here = [_everywhere(config) for config in configs]
    trial = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=-1)(_trial)
    waiting = {trial.options(name=config.name).remote(config, on_epoch): config for config in here}
    failed: list[str] = []
    while waiting:
        (done, *_), _ = ray.wait(list(waiting))
        config = waiting.pop(done)
        try:
            ray.get(done)
            on_run(config.folder)
        except ray.exceptions.RayError as error:
            failed.append(f"{config.name}: {_reason(error)}")
    if failed:
        raise RunError(f"{len(failed)} of {len(configs)} trainings failed; {failed[0]}")
    return [config.folder for config in here]


def _trial(config: TrainingConfig, on_epoch: OnEpoch | None) -> None:
    os.environ.pop("SLURM_NTASKS", None)  # one process, whatever started the cluster
    train(config, show_progress=False, on_epoch=on_epoch, patience_s=PATIENCE_S)


def _everywhere(config: TrainingConfig) -> TrainingConfig:
    """With absolute folders: a task does not run where it was asked for."""
    return replace(config, runs_dir=str(Path(config.runs_dir).absolute()), data=str(Path(config.data).absolute()))


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise RunError(
            "Ray is not installed: pip install 'densenet-lens[ray]', or leave --ray-address out to train here"
        ) from error
    if not ray.is_initialized():
        try:
            _check_reachable(address)
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise RunError(f"there is no Ray cluster at --ray-address {address!r}: {reason}") from error
    return ray


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=10).close()


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None)
    return str(cause or error).strip().splitlines()[-1]
