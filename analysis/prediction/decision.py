"""Connections of a decision: what each connection adds to a logit, and the strongest paths from the image to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.prediction.logits import check_classes
from analysis.reuse.ablation import cut_scores
from analysis.reuse.connections import Network, as_checkpoint, connection_weights, dense_spec
from analysis.reuse.dissection import Dissection, Reader, dissect
from analysis.reuse.effects import widths
from densenet_core import Checkpoint, DataError
from densenet_core.hardware import device

KEYS = ["block", "source_layer", "target_layer", "target_kind"]
BEAM = 24  # unfinished paths that are followed together


def decision_connections(
    network: Network, images: Tensor, for_class: int, against: int | None = None, cut: bool = False
) -> pd.DataFrame:
    """Return the signed part that each connection has in a logit, mean over the images.

    Gradient x activation: the sum, over the maps and positions that a target reads from a source, of the activation
    (behind the target's norm and ReLU) times the gradient of the logit by it. It is exact for connections to the
    classifier, where it equals ``logit_contributions``, and of first order elsewhere; with ``cut`` each connection is
    also really cut.

    >>> from densenet_core import load_zoo
    >>> table = decision_connections(load_zoo("densenet-40-12-digits"), torch.zeros(1, 1, 8, 8), for_class=3)
    >>> table.columns.tolist()
    ['block', 'source_layer', 'target_layer', 'target_kind', 'gradient_activation']

    Args:
        images: (N, C, H, W) normalized as the network takes them; one image, or several of one class.
        for_class: whose logit is explained.
        against: explain the logit of ``for_class`` minus that of this class.
        cut: add the column cut_effect: the logit minus the logit with this connection replaced by zeros.

    Returns:
        A row for each connection: block, source_layer, target_layer, target_kind, gradient_activation and, with
        ``cut``, cut_effect; in units of the logit, above 0 where the connection speaks for the class.

    Raises:
        CheckpointError: the network is no DenseNet.
        DataError: the network does not predict one of the classes, or the images do not fit it.
    """
    checkpoint = as_checkpoint(network)
    direction = _direction(checkpoint, images, for_class, against)
    table = connection_weights(checkpoint)[KEYS]
    batch = images.to(device())
    dissection = dissect(checkpoint, device())
    table = table.assign(gradient_activation=_gradient_activation(dissection, batch, direction))
    if not cut:
        return table
    with torch.inference_mode():
        folded = dissect(checkpoint, device(), fold=True)
        *without, whole = (float((scores @ direction).mean()) for scores in cut_scores(folded, batch))
    return table.assign(cut_effect=whole - np.array(without))


def _direction(checkpoint: Checkpoint, images: Tensor, for_class: int, against: int | None) -> Tensor:
    """(classes,): scores times this are the logit, or the difference of two, that is explained."""
    spec = dense_spec(checkpoint)
    if images.dim() != spec.spatial_dims + 2 or images.shape[1] != spec.in_channels or not len(images):
        raise DataError(f"images have the shape {tuple(images.shape)}: the network takes (N, {spec.in_channels}, ...)")
    check_classes([for_class] if against is None else [for_class, against], spec.num_classes)
    direction = torch.zeros(spec.num_classes, device=device())
    direction[for_class] += 1
    if against is not None:
        direction[against] -= 1
    return direction


def _gradient_activation(dissection: Dissection, images: Tensor, direction: Tensor) -> np.ndarray:
    """An entry for each connection, in the order of the feature-reuse table."""
    activations: list[Tensor] = []
    with torch.enable_grad():
        maps = dissection.stem(images)
        for reader in dissection.readers:
            active = reader.activation(maps)
            activations.append(active if active.requires_grad else active.requires_grad_())
            maps = reader.onward(maps, activations[-1])
        gradients = torch.autograd.grad((maps @ direction).sum(), activations)
    found: list[float] = []
    for reader, active, gradient in zip(dissection.readers, activations, gradients, strict=True):
        per_map = (active * gradient).transpose(0, 1).flatten(1).double().sum(1).detach() / len(images)
        found += [own.sum().item() for own in per_map.split(widths(reader))]
    return np.array(found)


@dataclass(frozen=True)
class _Path:
    """The end of a path: from a source to the logit."""

    layers: tuple[tuple[int, int], ...]  # (block, target layer) that it passes, the last one first
    block: int
    source: int
    gradient: Tensor  # of the logit by the maps of the source, through this path alone: (1, C, *spatial)
    part: float  # of the logit: gradient x maps


def strongest_paths(network: Network, image: Tensor, for_class: int, top: int = 10, beam: int = BEAM) -> pd.DataFrame:
    """Return the paths from the stem to a logit that carry most of it for one image.

    With each ReLU open or closed as it is for this image, the network is linear: the logit is a sum over all paths from
    the output of the stem, and over what the biases and norms on the way add. The part of a path is its gradient times
    the output of the stem. There are too many paths to try all: the ``beam`` strongest ends are followed backward
    (beam search), so a strong path that begins with a weak end can be missed.

    >>> from densenet_core import load_zoo
    >>> table = strongest_paths(load_zoo("densenet-40-12-digits"), torch.zeros(1, 1, 8, 8), 3, top=2, beam=2)
    >>> table.columns.tolist()
    ['path', 'num_layers', 'part', 'share']

    Args:
        image: (1, C, H, W) normalized as the network takes it.
        top: number of paths to return.
        beam: number of path ends that are followed together.

    Returns:
        Columns path (such as "stem > 1.3 > T1 > 2.5 > classifier": block.layer, T: transition), num_layers (dense
        layers and transitions on it), part (of the logit) and share (part / sum of abs(part) over the paths found).

    Raises:
        CheckpointError: the network is no DenseNet.
        DataError: as ``decision_connections``, or not exactly one image is passed.
    """
    checkpoint = as_checkpoint(network)
    if len(image) != 1:
        raise DataError(f"image has {len(image)} images: pass exactly one, (1, C, H, W)")
    direction = _direction(checkpoint, image, for_class, None)
    dissection = dissect(checkpoint, device())
    with torch.no_grad():
        inputs = _block_inputs(dissection, image.to(device()))
    last = len(dissection.blocks)
    ends = _extended(dissection, inputs, (), dissection.blocks[-1][-1], direction[None], last)
    done: list[_Path] = []
    while ends:
        done += [path for path in ends if (path.block, path.source) == (1, 0)]
        going = [path for path in ends if (path.block, path.source) != (1, 0)]
        going.sort(key=lambda path: -abs(path.part))
        ends = [longer for path in going[:beam] for longer in _one_step(dissection, inputs, path)]
    done.sort(key=lambda path: -abs(path.part))
    total = sum(abs(path.part) for path in done) or 1.0
    rows = [(_title(path, dissection), len(path.layers) - 1, path.part, path.part / total) for path in done[:top]]
    return pd.DataFrame(rows, columns=["path", "num_layers", "part", "share"])


def _block_inputs(dissection: Dissection, images: Tensor) -> list[Tensor]:
    """All maps of each block."""
    found, maps = [], dissection.stem(images)
    for *layers, behind in dissection.blocks:
        for reader in layers:
            maps = reader.onward(maps, reader.activation(maps))
        found.append(maps)
        maps = behind.onward(maps, behind.activation(maps))
    return found


def _one_step(dissection: Dissection, inputs: list[Tensor], path: _Path) -> list[_Path]:
    """The path longer by the layer that made its source: one for each source of that layer."""
    if path.source:
        reader, block = dissection.blocks[path.block - 1][path.source - 1], path.block
    else:
        reader, block = dissection.blocks[path.block - 2][-1], path.block - 1
    return _extended(dissection, inputs, path.layers, reader, path.gradient, block)


def _extended(
    dissection: Dissection,
    inputs: list[Tensor],
    layers: tuple[tuple[int, int], ...],
    reader: Reader,
    gradient: Tensor,
    block: int,
) -> list[_Path]:
    maps = inputs[block - 1][:, : reader.edges[reader.target.layer]].detach().requires_grad_()
    with torch.enable_grad():
        out = reader.whole(reader.read(reader.activation(maps)))
        (found,) = torch.autograd.grad(out, maps, gradient)
    passed = (*layers, (block, reader.target.layer))
    sizes = widths(reader)
    parts = zip(found.split(sizes, dim=1), maps.detach().split(sizes, dim=1), strict=True)
    return [_Path(passed, block, s, own, float((own * x).sum())) for s, (own, x) in enumerate(parts)]


def _title(path: _Path, dissection: Dissection) -> str:
    names = []
    for block, layer in reversed(path.layers):
        kind = dissection.blocks[block - 1][layer - 1].target.kind
        names.append({"transition": f"T{block}", "classifier": "classifier"}.get(kind, f"{block}.{layer}"))
    return " > ".join(("stem", *names))
