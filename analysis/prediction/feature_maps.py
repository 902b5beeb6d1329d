"""Feature maps of layers and connections, and the images that drive them most."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from analysis.prediction.predictor import NetworkLike, as_predictor, record_outputs
from analysis.reuse.connections import Network as DenseNetwork
from analysis.reuse.connections import as_checkpoint
from analysis.reuse.dissection import Dissection, dissect
from analysis.reuse.effects import OnBatch, batches_on_device
from densenet_core import DataError
from densenet_core.data.images import Images, sample_evenly
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_fit


class Place(NamedTuple):
    """A connection: source 0 is the input of the block, target n+1 what follows it."""

    block: int
    source_layer: int
    target_layer: int


def layer_maps(network: NetworkLike, images: Tensor, layer: str) -> Tensor:
    """Return the output of a layer: ``(N, C, *spatial)``.

    >>> from densenet_core import load_zoo
    >>> network = load_zoo("densenet-40-12-digits")
    >>> layer_maps(network, torch.zeros(1, 1, 8, 8), "features.denseblock1.denselayer2").shape
    torch.Size([1, 12, 8, 8])

    Args:
        images: (N, C, H, W) normalized for the network.
        layer: the name of a module; ``layer_names`` lists them.

    Raises:
        DataError: the network has no such layer, or the layer has no feature maps.
    """
    predictor = as_predictor(network)
    if layer not in dict(predictor.model.named_modules()):
        raise DataError(f"layer {layer!r} is not in the network (layer_names lists its layers)")
    with torch.inference_mode(), record_outputs(predictor.model, [layer]) as outputs:
        predictor.scores(images)
    if outputs[layer].dim() < 3:
        raise DataError(f"layer {layer!r} has no feature maps (layer_names lists the layers that have)")
    return outputs[layer].clone()


def source_maps(network: NetworkLike, images: Tensor, block: int, source_layer: int) -> Tensor:
    """Return the maps of a source of a block: ``(N, C, *spatial)``.

    Raises:
        DataError: the network has no such source.
    """
    with torch.inference_mode():
        found = as_predictor(network).block_maps(images)
    if (block, source_layer) not in found:
        raise DataError(f"block {block} has no source layer {source_layer}")
    return found[block, source_layer]


def read_maps(network: DenseNetwork, images: Tensor, place: Place) -> Tensor:
    """Return what a target reads from one source: the source's part of the target's pre-activation.

    The pre-activation is the output of the target's first convolution; for the classifier, the logits without the bias.
    It is the sum of the parts of all sources.

    >>> from densenet_core import load_zoo
    >>> read_maps(load_zoo("densenet-40-12-digits"), torch.zeros(1, 1, 8, 8), Place(1, 0, 2)).shape
    torch.Size([1, 12, 8, 8])

    Args:
        images: (N, C, H, W) normalized for the network.

    Returns:
        ``(N, channels, *spatial)`` with the output channels of the target's first convolution, after the pooling of a
        transition; for the classifier (N, classes).

    Raises:
        CheckpointError: the network is not a DenseNet.
        DataError: the network has no such connection.
    """
    dissection = dissect(as_checkpoint(network), device())
    with torch.inference_mode():
        return _read(dissection, images.to(device()), place)


def _read(dissection: Dissection, images: Tensor, place: Place) -> Tensor:
    block, source, target = place
    if not (1 <= block <= len(dissection.blocks) and 0 <= source < target <= len(dissection.blocks[block - 1])):
        raise DataError(f"there is no connection from source {source} to target {target} in block {block}")
    maps = dissection.stem(images)
    for readers in dissection.blocks:
        for reader in readers:
            if (reader.target.block, reader.target.layer) == (block, target):
                first, end = reader.edges[source], reader.edges[source + 1]
                return reader.read(reader.activation(maps[:, first:end], source, source + 1), source, source + 1)
            maps = reader.onward(maps, reader.activation(maps))
    raise AssertionError(place)


def driving_images(
    network: DenseNetwork,
    images: Images,
    place: Place | tuple[int, int],
    channel: int | None = None,
    num_images: int = 1000,
    top: int = 8,
    batch_size: int = 50,
    on_batch: OnBatch = lambda done, total: None,
) -> pd.DataFrame:
    """Return the images of a data set that drive a map, a layer or a connection most and least.

    >>> from densenet_core import load_zoo
    >>> from densenet_core.data.datasets import load_test_images
    >>> network, images = load_zoo("densenet-40-12-digits"), load_test_images("digits")
    >>> table = driving_images(network, images, (1, 2), num_images=40, top=3)
    >>> len(table)  # three at each end
    6

    Args:
        images: ``num_images`` of them are searched, evenly spaced over the set.
        place: a source (block, source layer), or a connection ``Place`` for the part that its target reads.
        channel: one of its maps; by default the mean of abs over all maps.
        top: number of images at each end.

    Returns:
        Columns row (of the searched images), label, value (mean of the map over positions; without a channel
        the mean of abs), y and x (0..1, the position of the map's largest value in the image), sorted by value,
        largest first; 2 x top rows, or fewer if there are fewer images.

    Raises:
        DataError: the network has no such place or channel, or the images do not fit the network.
    """
    found = []
    predictor = as_predictor(network) if len(place) == 2 else None
    checkpoint = as_checkpoint(network) if predictor is None else None
    check_fit(predictor.spec if predictor else checkpoint.architecture, images)  # type: ignore[union-attr]
    dissection = None if checkpoint is None else dissect(checkpoint, device())
    done = 0
    with torch.inference_mode():
        for batch, labels in batches_on_device(sample_evenly(images, num_images), batch_size, on_batch):
            if dissection is None:
                maps = source_maps(predictor, batch, place[0], place[1])  # type: ignore[arg-type]
            else:
                maps = _read(dissection, batch, Place(*place))
            found.append(_drive(maps, channel, labels, done))
            done += len(labels)
    table = pd.concat(found).sort_values("value", ascending=False, kind="stable")
    if len(table) > 2 * top:
        table = pd.concat([table.iloc[:top], table.iloc[-top:]])
    return table.reset_index(drop=True)


def _drive(maps: Tensor, channel: int | None, labels: Tensor, done: int) -> pd.DataFrame:
    if channel is not None and not 0 <= channel < maps.shape[1]:
        raise DataError(f"channel {channel} is not a map: there are {maps.shape[1]}, from 0")
    one = maps.abs().mean(1) if channel is None else maps[:, channel]  # (N, *spatial)
    if one.dim() == 1:
        one = one[:, None, None]
    values = one.flatten(1).mean(1)
    at = one.flatten(1).argmax(1)
    height, width = one.shape[-2:]
    y, x = (at // width % height + 0.5) / height, (at % width + 0.5) / width
    columns = {"label": labels, "value": values, "y": y, "x": x}
    table = pd.DataFrame({name: tensor.cpu().numpy() for name, tensor in columns.items()})
    table.insert(0, "row", range(done, done + len(labels)))
    return table


def first_filters(network: NetworkLike) -> Tensor:
    """Return the filters of the first convolution: ``(filters, in_channels, *kernel)``.

    >>> from densenet_core import load_zoo
    >>> first_filters(load_zoo("densenet-40-12-digits")).shape
    torch.Size([16, 1, 3, 3])
    """
    predictor = as_predictor(network)
    for module in predictor.model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            return module.weight.detach().cpu().clone()
    raise DataError("the network has no convolution")
