"""Every layer of a network with its shapes, by arithmetic on the spec: no weights are allocated, no data touched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from densenet_core.networks.spec import Spec

Kind = Literal[
    "conv",
    "linear",
    "norm",
    "relu",
    "max_pool",
    "avg_pool",
    "global_pool",
    "concat",
    "pad",
    "add",
    "sigmoid",
    "companion",  # a classifier that runs in training only: it has weights, and no operations are counted
    "join",  # the mean of several columns
    "gate",  # x + T (h - x) for an input x, a layer's output h and the openness T of its gate
]
# batch: a batch norm with running statistics; batch_statistics: one without, which uses those of the batch;
# layer: over the feature maps at each position.
NormKind = Literal["batch", "batch_statistics", "group", "layer", "instance"]
NORM_KINDS: tuple[NormKind, ...] = get_args(NormKind)
USUAL_GROUPS = 32  # of a group norm (Wu and He 2018)
Shape = tuple[int, ...]
MAX_PIXELS = 65_536  # a side; counts of larger images would not fit in 64 bits
MAX_TRIED_LAYERS = 10_000  # in a larger network, the search for the smallest input would take too long


class Layer(NamedTuple):
    """One layer of a network, in the order in which they run."""

    name: str  # the module's, in torchvision's names; for an operation without a module, its owner's and its own
    kind: Kind
    stage: str  # stem, block1, transition1, ..., layer1, ..., head
    in_maps: int
    out_maps: int
    kernel: int  # 1 for layers without one
    stride: int
    in_size: int  # pixels a side (all sides are equal)
    out_size: int
    is_branch: bool = False  # reads the same as a layer on the longest path: a projection, a gate, a shorter column
    has_bias: bool = False  # for convolutions; linear layers always have one
    norm: NormKind = "batch"  # for norms
    norm_groups: int = 0  # for group norms


def network_layers(spec: Spec, input_size: int) -> list[Layer]:
    """Return the layers of a network, for an input of ``input_size`` pixels a side.

    >>> from densenet_core.networks.names import spec_from_name
    >>> [layer.name for layer in network_layers(spec_from_name("densenet-bc-100-12"), 32)[:3]]
    ['features.conv0', 'features.denseblock1.denselayer1.norm1', 'features.denseblock1.denselayer1.relu1']

    Raises:
        ValueError: The input is too small for the network's strides; the smallest size that works is named.
    """
    if not 1 <= input_size <= MAX_PIXELS:
        raise ValueError(f"input size {input_size} must be from 1 to {MAX_PIXELS:,}")
    layers = unchecked_layers(spec, input_size)
    if layers[-1].in_size < 1:
        sizes = range(input_size, MAX_PIXELS)
        fitting = (size for size in sizes if unchecked_layers(spec, size)[-1].in_size >= 1)
        smallest = next(fitting, f"above {MAX_PIXELS:,}") if len(layers) < MAX_TRIED_LAYERS else "much larger"
        raise ValueError(
            f"input size {input_size} is too small for {spec.title}: the smallest that works is {smallest}"
        )
    return list(layers)


def parse_norm(text: str) -> tuple[NormKind, int]:
    """Return the kind of a norm and its number of groups, 0 for all but group norms.

    >>> parse_norm("group-16"), parse_norm("layer")
    (('group', 16), ('layer', 0))

    Raises:
        ValueError: There is no such kind.
    """
    if match := re.fullmatch(r"group-(\d{1,4})", text):
        return "group", int(match[1])
    kinds = [kind for kind in NORM_KINDS if kind == text]
    if not kinds:
        raise ValueError(f"norm {text!r} is unknown: choose from {', '.join(NORM_KINDS)}, or group-16 for 16 groups")
    return kinds[0], USUAL_GROUPS if text == "group" else 0


@lru_cache(maxsize=2)  # cost and memory of a network are usually computed one after the other
def unchecked_layers(spec: Spec, input_size: int) -> tuple[Layer, ...]:
    """Return the layers even if the input is too small, in which case sizes near the end are below 1."""
    walk = LayerWalk(spec.in_channels, input_size)
    spec.add_layers(walk)
    return tuple(walk.layers)


def tensor_shapes(spec: Spec) -> dict[str, Shape]:
    """Return the shapes of the tensors in the state dict of a network, by their names.

    The order is that in which the layers run, which is not the state dict's in every family.

    >>> from densenet_core import DenseNetSpec
    >>> tensor_shapes(DenseNetSpec.imagenet("121"))["features.conv0.weight"]
    (64, 3, 7, 7)
    """
    layers = unchecked_layers(spec, input_size=1)  # no tensor's shape depends on the size
    return {key: shape for layer in layers for key, shape in _tensors(layer, spec.spatial_dims)}


def _tensors(layer: Layer, dims: int) -> Iterator[tuple[str, Shape]]:
    name, maps = layer.name, layer.out_maps
    if layer.kind == "conv":
        yield f"{name}.weight", (maps, layer.in_maps, *(layer.kernel,) * dims)
    elif layer.kind in ("linear", "companion"):
        yield f"{name}.weight", (maps, layer.in_maps)
    elif layer.kind == "norm":
        yield f"{name}.weight", (maps,)
    else:
        return
    if layer.kind != "conv" or layer.has_bias:
        yield f"{name}.bias", (maps,)
    if layer.kind == "norm" and layer.norm == "batch":
        yield f"{name}.running_mean", (maps,)
        yield f"{name}.running_var", (maps,)
        yield f"{name}.num_batches_tracked", ()


class LayerWalk:
    """The layers up to a point of the network's main path, and the width and resolution there.

    >>> walk = LayerWalk(maps=3, size=32)
    >>> walk.add("conv0", "conv", 16, kernel=3, stride=2)
    >>> walk.maps, walk.size
    (16, 16)
    """

    def __init__(self, maps: int, size: int) -> None:
        self.maps, self.size, self.stage = maps, size, "stem"
        self.norm: NormKind = "batch"  # the kind of every norm that is added
        self.norm_groups = 0
        self.layers: list[Layer] = []

    def add(
        self,
        name: str,
        kind: Kind,
        out_maps: int | None = None,
        kernel: int = 1,
        stride: int = 1,
        has_bias: bool = False,
    ) -> None:
        """Append a layer that reads the main path, which continues from its output."""
        maps = self.maps if out_maps is None else out_maps
        size = self._out_size(kind, kernel, stride)
        layer = Layer(name, kind, self.stage, self.maps, maps, kernel, stride, self.size, size, has_bias=has_bias)
        if kind == "norm":
            layer = layer._replace(norm=self.norm, norm_groups=min(self.norm_groups, maps))
        self.layers.append(layer)
        self.maps, self.size = maps, size

    def _out_size(self, kind: Kind, kernel: int, stride: int) -> int:
        if kind in ("global_pool", "linear"):
            return min(1, self.size)
        if kind == "avg_pool" and kernel == 3 and self.size < 2:  # padded by reflection, which needs two positions
            return 0
        if kind == "norm" and self.norm == "instance" and self.size < 2:  # the statistics of one value
            return 0
        if kernel % 2 == 0:  # a pooling without padding
            return (self.size - kernel) // stride + 1
        return (self.size - 1) // stride + 1  # padded by half the kernel

    def add_stem(self, names: tuple[str, str, str, str], maps: int, is_imagenet: bool, has_norm: bool) -> None:
        """Append the first convolution, its norm, its ReLU and, for ImageNet, the max pooling."""
        conv, norm, relu, pool = names
        kernel, stride = (7, 2) if is_imagenet else (3, 1)
        self.add(conv, "conv", maps, kernel, stride)
        if has_norm:
            self.add(norm, "norm")
            self.add(relu, "relu")
        if is_imagenet:
            self.add(pool, "max_pool", kernel=3, stride=2)

    def add_norm_relu(self, norm: str, relu: str) -> None:
        """Append a norm and a ReLU."""
        self.add(norm, "norm")
        self.add(relu, "relu")

    def add_head(self, norm: str | None, classifier: str, num_classes: int) -> None:
        """Append global average pooling and the classifier, preceded by a norm and a ReLU if ``norm`` is not None."""
        self.stage = "head"
        if norm is not None:
            self.add_norm_relu(norm, f"{norm}.relu")
        self.add(f"{classifier}.pool", "global_pool")
        self.add(classifier, "linear", num_classes)

    def insert(self, layers: Iterable[Layer]) -> None:
        """Append layers beside the main path, whose width and resolution stay as they are."""
        self.layers += layers
