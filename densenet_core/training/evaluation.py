"""Loss and error of a network on a set of images."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.checkpoints.checkpoint import Checkpoint
from densenet_core.checkpoints.onnx_export import onnx_model
from densenet_core.data.images import Images, check_images_type
from densenet_core.errors import DataError
from densenet_core.hardware import device
from densenet_core.networks.densenet import DenseNet
from densenet_core.networks.fused import fuse
from densenet_core.networks.layers import network_layers
from densenet_core.networks.network import evaluation_mode
from densenet_core.networks.spec import Spec
from densenet_core.training.distributed import all_reduce, shard_of
from densenet_core.training.malloc import keep_freed_memory

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Backend = Literal["torch", "onnxruntime"]


@dataclass(frozen=True)
class Evaluation:
    """The result of a network on a set of images: mean cross-entropy (nats) and errors in percent."""

    loss: float
    top1_error: float
    top5_error: float
    num_images: int


def evaluate(model: nn.Module, images: Images, batch_size: int = 256, fabric: Fabric | None = None) -> Evaluation:
    """Run the network over all images once in evaluation mode; afterwards every module is in its mode from before.

    Where images come in crops, an image's scores are the mean over them (before the softmax, as in fb.resnet.torch, on
    which the paper's code is based).

    Args:
        fabric: for several processes that evaluate together: each takes its part of the images.
    """
    place = next(chain(model.parameters(), model.buffers())).device
    sums = torch.zeros(3, dtype=torch.float64)  # loss, top-1 correct, top-5 correct
    with evaluation_mode(model), torch.inference_mode(), keep_freed_memory(place.type):
        for batch, labels in images.batches(batch_size, shard=shard_of(fabric) if fabric else None):
            sums += _sums(_scores(model, batch.to(place)), labels.to(place)).cpu()
    if fabric is not None:
        sums = all_reduce(fabric, sums, "sum")
    n, (loss, top1, top5) = len(images), sums.tolist()
    return Evaluation(loss / n, 100 * (1 - top1 / n), 100 * (1 - top5 / n), n)


def evaluate_checkpoint(checkpoint: Checkpoint, images: Images, backend: Backend = "torch") -> Evaluation:
    """Evaluate a stored network.

    Args:
        backend: ``torch``, on the GPU if there is one, DenseNets in their fused form; or ``onnxruntime``, on the CPU.

    Raises:
        ValueError: the backend is unknown.
        RunError: onnxruntime is not installed.
        CheckpointError: the network can't be built.
        DataError: the images do not fit it.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend {backend!r} is unknown: choose {' or '.join(get_args(Backend))}")
    check_images(checkpoint, images)
    if backend == "onnxruntime":
        return evaluate(onnx_model(checkpoint, images.image_size), images)
    model = checkpoint.to_model()
    fast = fuse(model) if isinstance(model, DenseNet) else model
    return evaluate(fast.to(device()), images.to(device()))


def _scores(model: nn.Module, batch: Tensor) -> Tensor:
    """(N, C, H, W), or (N, crops, C, H, W) -> (N, classes)."""
    if batch.dim() == 4:
        return model(batch).float()  # type: ignore[no-any-return]
    scores = model(batch.flatten(0, 1)).float()
    return scores.unflatten(0, batch.shape[:2]).mean(1)  # type: ignore[no-any-return]


def _sums(scores: Tensor, labels: Tensor) -> Tensor:
    best = scores.topk(min(5, scores.shape[1])).indices == labels[:, None]
    loss = F.cross_entropy(scores, labels, reduction="sum")
    return torch.stack([loss.double(), best[:, 0].sum().double(), best.sum().double()])


def check_images(checkpoint: Checkpoint, images: Images) -> None:
    """Check before anything runs that these images fit this network, and that their classes are those of its training.

    Classes are compared where the checkpoint's record names them, since labels are numbers: a folder that is called
    otherwise may shift them all.

    Raises:
        CheckpointError: the network can't be built.
        DataError: as ``check_fit``, or a class has another name than in the training.
    """
    check_fit(checkpoint.architecture, images)
    names = checkpoint.record.get("class_names")
    if not isinstance(names, list) or len(names) != len(images.class_names):
        return
    for number, (trained, given) in enumerate(zip(names, images.class_names, strict=True)):
        if _plain(str(trained)) != _plain(given):
            raise DataError(
                f"class {number} of the images is {given!r}, and {str(trained)!r} in the network's training: name the "
                "class folders as they were"
            )


def _plain(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum()) or name


def check_fit(spec: Spec, images: Images) -> None:
    """Check before anything runs that these images fit this network.

    Raises:
        DataError: ``images`` is no data set, their channels or their number of classes differ, or they are too small
            for the network's strides.
    """
    check_images_type(images)
    if spec.spatial_dims != 2:
        raise DataError(f"the images have 2 dimensions, {spec.title} expects {spec.spatial_dims}")
    try:
        network_layers(spec, images.image_size)
    except ValueError as error:
        raise DataError(f"the images have {images.image_size} pixels a side: {error}") from error
    if images.num_channels != spec.in_channels:
        channels = f"{images.num_channels} channel{'s' if images.num_channels > 1 else ''}"
        raise DataError(f"the images have {channels}, the network expects {spec.in_channels}")
    if len(images.class_names) != spec.num_classes:
        raise DataError(f"the data set has {len(images.class_names)} classes, the network predicts {spec.num_classes}")
