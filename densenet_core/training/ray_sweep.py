"""Run a sweep on a Ray cluster: each training is a task, which resumes on another machine if its own fails.

The suite must be installed on all machines, and the folders of runs and data must be shared between them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from densenet_core.errors import RunError, own_words
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import OnEpoch, train

PATIENCE_S = 60.0  # to wait until the process on a failing machine releases its run


def run_sweep_on_ray(
    configs: list[TrainingConfig],
    address: str,
    cpus: float = 2,
    gpus: float = 0,
    on_run: Callable[[Path], object] = lambda folder: None,
    on_epoch: OnEpoch | None = None,
) -> list[Path]:
    """Train every configuration that is not trained yet and return all run folders.

    Args:
        address: of the cluster: HOST:PORT, ``auto`` for this machine's cluster, ``local`` for a new one.
        cpus, gpus: resources of one training.
        on_run: called in this process with the folder of each finished run.
        on_epoch: as in ``train``; called in the process of the training.

    Raises:
        RunError: Ray is not installed, there is no cluster at the address, or trainings failed (raised after all others
            have ended; names the first).
    """
    ray = _connect(address)
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
    os.environ.pop("SLURM_NTASKS", None)  # one process, even if SLURM started the cluster
    train(config, show_progress=False, on_epoch=on_epoch, patience_s=PATIENCE_S)


def _everywhere(config: TrainingConfig) -> TrainingConfig:
    """Return the configuration with absolute folders, since a task runs in another working directory."""
    return replace(config, runs_dir=str(Path(config.runs_dir).absolute()), data=str(Path(config.data).absolute()))


def _connect(address: str) -> Any:
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
            reason = own_words(error, "Ray can't connect")
            raise RunError(f"there is no Ray cluster at --ray-address {address!r}: {reason}") from error
    return ray


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing answers at the address; Ray itself would retry for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=10).close()


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None)
    return str(cause or error).strip().splitlines()[-1]
