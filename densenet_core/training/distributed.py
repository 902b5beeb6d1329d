"""The processes and the device of a training: one process, or as many as torchrun or SLURM started.

Lightning Fabric connects them, moves data to the device and averages the gradients (DistributedDataParallel: gloo on
CPUs, NCCL on GPUs).
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from densenet_core.data.batching import Shard
from densenet_core.errors import RunError
from densenet_core.hardware import device
from densenet_core.training.config import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")
FABRIC_PRECISION: dict[Precision, Any] = {"fp32": "32-true", "bf16": "bf16-mixed"}
# Running statistics are averaged once an epoch (``average_running_statistics``), not copied from rank 0 at every step.
# The option's name is newer than the oldest supported torch.
_NEW_NAME = "forward_sync_buffers"
_HAS_NEW_NAME = _NEW_NAME in signature(DistributedDataParallel).parameters
_DDP_OPTIONS: dict[str, Any] = {_NEW_NAME if _HAS_NEW_NAME else "broadcast_buffers": False}
_LOST_SIGNS = ("gloo", "nccl", "connect")  # words in the errors of gloo and NCCL


def launch(precision: Precision = "fp32") -> Fabric:
    """Join the processes described by the environment variables of torchrun or SLURM."""
    from lightning_fabric import Fabric  # takes two seconds, which only a training needs
    from lightning_fabric.strategies.ddp import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    num_nodes, per_node = _started_processes()
    fabric = Fabric(
        accelerator=device().type,
        devices=per_node,
        num_nodes=num_nodes,
        strategy=DDPStrategy(**_DDP_OPTIONS) if num_nodes * per_node > 1 else "auto",
        precision=FABRIC_PRECISION[precision],
    )
    fabric.launch()
    if fabric.world_size > 1:
        atexit.register(_leave)
    return fabric


def _leave() -> None:
    """End the transport's threads before the interpreter ends: a running one could abort the process."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _started_processes() -> tuple[int, int]:
    """Return the number of nodes, and of processes on each."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        total, per_node = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        return total // per_node, per_node
    if "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        num_nodes = int(environment.get("SLURM_NNODES", 1))
        return num_nodes, int(environment["SLURM_NTASKS"]) // num_nodes
    return 1, 1


def is_launched_with_others() -> bool:
    """Return whether torchrun or SLURM started this process as one of several."""
    num_nodes, per_node = _started_processes()
    return num_nodes * per_node > 1


def is_first_process() -> bool:
    """Return whether this process is rank 0, after ``launch``."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def shard_of(fabric: Fabric) -> Shard:
    """Return which part of every batch this process takes."""
    return Shard(fabric.global_rank, fabric.world_size)


def on_first(fabric: Fabric, work: Callable[[], T]) -> T:
    """Call ``work`` on rank 0 only; all processes return its result or raise its error."""
    result: T | None = None
    error: ValueError | OSError | None = None
    if fabric.is_global_zero:
        try:
            result = work()
        except (ValueError, OSError) as raised:
            error = raised
    if fabric.world_size > 1:
        result, error = fabric.broadcast((result, error))
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def all_reduce(fabric: Fabric, tensor: Tensor, how: Literal["mean", "sum"]) -> Tensor:
    """Return the mean or sum over the processes."""
    whole = fabric.all_reduce(tensor.clone(), reduce_op=how)
    assert isinstance(whole, Tensor)
    return whole.to(tensor.device)


def average_running_statistics(fabric: Fabric, model: nn.Module) -> None:
    """Average batch normalization's running statistics over the processes, each of which saw its own images."""
    if fabric.world_size > 1:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(all_reduce(fabric, buffer, "mean"))


def synchronize_batch_norm(model: nn.Module) -> None:
    """Replace batch normalization by one whose statistics are taken over the images of all processes.

    Raises:
        RunError: there is no GPU.
    """
    if device().type != "cuda":
        raise RunError("sync_batch_norm True needs GPUs: PyTorch does not support it on CPUs; omit it")
    nn.SyncBatchNorm.convert_sync_batchnorm(model)  # in place: the network itself is not a batch norm


@contextmanager
def explain_lost_process(fabric: Fabric, folder: Path) -> Iterator[None]:
    """Raise a RunError in place of the transport's error when another process was lost.

    Raises:
        RunError: another process of this training ended.
    """
    try:
        yield
    except RuntimeError as error:
        is_transport = isinstance(error, torch.distributed.DistError)
        if fabric.world_size == 1 or not (is_transport or any(sign in str(error).lower() for sign in _LOST_SIGNS)):
            raise
        raise RunError(
            f"another of the {fabric.world_size} processes of this training ended; the run folder {str(folder)!r} "
            "holds the last finished epoch: start all processes again with the same command to resume"
        ) from error
