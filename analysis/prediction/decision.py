"""Connections of a decision: what each connection adds to a logit, and the strongest paths from the stem to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analysis.prediction.logits import check_classes
from analysis.prediction.predictor import check_tensor
from analysis.reuse.connections import Network, as_checkpoint, connection_weights, dense_spec
from analysis.reuse.cuts.scores import cut_scores
from analysis.reuse.dissection import Dissection, Reader, dissect
from analysis.reuse.effects import widths
from analysis.reuse.measures import CONNECTION
from densenet_core import Checkpoint, DataError
from densenet_core.hardware import device

BEAM = 24  # unfinished paths kept in each step of the beam search


def decision_connections(
    network: Network, images: Tensor, for_class: int, against: int | None = None, cut: bool = False
) -> pd.DataFrame:
    """Return the signed contribution of each connection to a logit, averaged over images.

    Gradient x activation: the activation (after the target's norm and ReLU) times the gradient of the logit with
    respect to it, summed over the maps and positions that a target reads from a source. It is exact for connections to
    the classifier, where it equals ``logit_contributions``, and a first-order estimate elsewhere; ``cut`` adds the
    measured effect of cutting each connection.

    >>> from densenet_core import load_zoo
    >>> table = decision_connections(load_zoo("densenet-40-12-digits"), torch.zeros(1, 1, 8, 8), for_class=3)
    >>> table.columns.tolist()
    ['block', 'source_layer', 'target_layer', 'target_kind', 'gradient_activation']

    Args:
        images: (N, C, H, W) normalized for the network; one image, or several of one class.
        for_class: the class whose logit is explained.
        against: explain the logit of ``for_class`` minus that of this class.
        cut: add the column cut_effect: the logit minus the logit with this connection replaced by zeros.

    Returns:
        A row for each connection: block, source_layer, target_layer, target_kind, gradient_activation and, with
        ``cut``, cut_effect; in units of the logit, above 0 where the connection supports the class.

    Raises:
        CheckpointError: the network is not a DenseNet.
        DataError: the network does not predict one of the classes, or the images do not fit it.
    """
    checkpoint = as_checkpoint(network)
    direction = _direction(checkpoint, images, for_class, against)
    table = connection_weights(checkpoint)[CONNECTION]
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
    """Return a vector (classes,): the scores times it are the logit to explain, or the difference of two logits."""
    spec = dense_spec(checkpoint)
    check_tensor(images)
    if images.dim() != spec.spatial_dims + 2 or images.shape[1] != spec.in_channels or not len(images):
        raise DataError(f"images have the shape {tuple(images.shape)}: the network takes (N, {spec.in_channels}, ...)")
    check_classes([for_class] if against is None else [for_class, against], spec.num_classes)
    direction = torch.zeros(spec.num_classes, device=device())
    direction[for_class] += 1
    if against is not None:
        direction[against] -= 1
    return direction


def _gradient_activation(dissection: Dissection, images: Tensor, direction: Tensor) -> np.ndarray:
    """Return gradient x activation of each connection, in the order of the feature-reuse table."""
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

    layers: tuple[tuple[int, int], ...]  # (block, target layer) on the path, the last one first
    block: int
    source: int
    gradient: Tensor  # of the logit with respect to the source's maps, through this path only: (1, C, *spatial)
    part: float  # of the logit: gradient x maps


def strongest_paths(network: Network, image: Tensor, for_class: int, top: int = 10, beam: int = BEAM) -> pd.DataFrame:
    """Return the paths from the stem that contribute most to a logit of one image.

    With every ReLU fixed as open or closed for this image, the network is linear: the logit is the sum over all paths
    from the output of the stem, plus the contributions of biases and norms. The part of a path is its gradient times
    the output of the stem. There are too many paths to try them all: a beam search goes backward from the logit and
    keeps the ``beam`` strongest ends, so it can miss a strong path whose end is weak.

    >>> from densenet_core import load_zoo
    >>> table = strongest_paths(load_zoo("densenet-40-12-digits"), torch.zeros(1, 1, 8, 8), 3, top=2, beam=2)
    >>> table.columns.tolist()
    ['path', 'num_layers', 'part', 'share']

    Args:
        image: (1, C, H, W) normalized for the network.
        top: number of paths to return.
        beam: number of path ends kept in each step.

    Returns:
        Columns path (such as "stem > 1.3 > T1 > 2.5 > classifier": block.layer, T: transition), num_layers (dense
        layers and transitions on it), part (of the logit) and share (part / sum of abs(part) over the paths found).

    Raises:
        CheckpointError: the network is not a DenseNet.
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
    ends = _extend(dissection, inputs, (), dissection.blocks[-1][-1], direction[None], last)
    done: list[_Path] = []
    while ends:
        done += [path for path in ends if (path.block, path.source) == (1, 0)]
        going = [path for path in ends if (path.block, path.source) != (1, 0)]
        going.sort(key=lambda path: -abs(path.part))
        ends = [longer for path in going[:beam] for longer in _extend_by_layer(dissection, inputs, path)]
    done.sort(key=lambda path: -abs(path.part))
    total = sum(abs(path.part) for path in done) or 1.0
    rows = [(_title(path, dissection), len(path.layers) - 1, path.part, path.part / total) for path in done[:top]]
    return pd.DataFrame(rows, columns=["path", "num_layers", "part", "share"])


def _block_inputs(dissection: Dissection, images: Tensor) -> list[Tensor]:
    """Return all maps of each block."""
    found, maps = [], dissection.stem(images)
    for *layers, last in dissection.blocks:
        for reader in layers:
            maps = reader.onward(maps, reader.activation(maps))
        found.append(maps)
        maps = last.onward(maps, last.activation(maps))
    return found


def _extend_by_layer(dissection: Dissection, inputs: list[Tensor], path: _Path) -> list[_Path]:
    """Extend a path by the layer that computed its source: one path for each source of that layer."""
    if path.source:
        reader, block = dissection.blocks[path.block - 1][path.source - 1], path.block
    else:
        reader, block = dissection.blocks[path.block - 2][-1], path.block - 1
    return _extend(dissection, inputs, path.layers, reader, path.gradient, block)


def _extend(
    dissection: Dissection,
    inputs: list[Tensor],
    layers: tuple[tuple[int, int], ...],
    reader: Reader,
    gradient: Tensor,
    block: int,
) -> list[_Path]:
    maps = inputs[block - 1][:, : reader.edges[reader.target.layer]].detach().requires_grad_()
    with torch.enable_grad():
        out = reader.output(reader.read(reader.activation(maps)))
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
