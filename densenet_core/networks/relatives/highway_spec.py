"""The architecture of Highway Networks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from densenet_core.networks.layers import LayerWalk
from densenet_core.networks.paths import PathGraph
from densenet_core.networks.spec import Spec, check_counts, check_no_dropout, check_num_layers, layers_from_depth

# Layers and feature maps of each stage. The paper reports about 2.3M parameters for 19 layers, with the widths of
# FitNet 4 (32 and 48, 80, 128) and a hidden fully connected layer, and 1.25M for 32 layers of unknown widths.
_PUBLISHED: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    19: ((6, 6, 6), (32, 80, 128)),
    32: ((11, 10, 10), (24, 40, 72)),
}
_STAGES = 3


@dataclass(frozen=True)
class HighwaySpec(Spec):
    """The architecture of one convolutional Highway Network (Srivastava, Greff, Schmidhuber 2015).

    ``HighwaySpec.published`` returns networks as deep as the paper's, ``HighwaySpec.small`` networks of any width.

    >>> HighwaySpec.small(10, 8).title
    'Highway Network-10 (8-16-32)'

    Raises:
        ValueError: A field is out of range.
    """

    stage_config: tuple[int, ...]  # layers in each stage; the first of each has no gate, because it changes the width
    stage_widths: tuple[int, ...]  # feature maps of each stage
    num_classes: int = 10
    in_channels: int = 3
    gate_bias: float = -2.0  # initial bias of the gates: below 0, so that each layer starts by passing its input on

    EXAMPLES: ClassVar = ("highway-19", "highway-32")
    PATTERNS: ClassVar = ("highway-DEPTH-WIDTH",)

    def __post_init__(self) -> None:
        check_counts(self, "stage_config", "stage_widths", "num_classes", "in_channels")
        check_num_layers("stage_config", sum(self.stage_config))
        if len(self.stage_config) != len(self.stage_widths):
            raise ValueError(f"stage_widths {self.stage_widths} needs one number for each stage of {self.stage_config}")
        if not self.gate_bias < 0:
            raise ValueError(f"gate_bias {self.gate_bias} must be below 0: layers start by passing their input on")

    @classmethod
    def published(cls, depth: int, num_classes: int = 10, in_channels: int = 3) -> HighwaySpec:
        """Return the fully convolutional network of 19 or 32 layers, with one width a stage: 2.3M and 1.2M parameters.

        Raises:
            ValueError: ``depth`` is neither 19 nor 32.
        """
        if depth not in _PUBLISHED:
            raise ValueError(f"depth {depth} is neither 19 nor 32: for others add a width, such as highway-10-8")
        return cls(*_PUBLISHED[depth], num_classes=num_classes, in_channels=in_channels)

    @classmethod
    def small(cls, depth: int, width: int, num_classes: int = 10, in_channels: int = 3) -> HighwaySpec:
        """Return a network of three equal stages, with ``width``, 2 * ``width`` and 4 * ``width`` feature maps.

        Raises:
            ValueError: ``depth`` is not 3n+1; the nearest such depths are named.
        """
        layers = layers_from_depth(depth, _STAGES, 1)
        return cls((layers,) * _STAGES, (width, 2 * width, 4 * width), num_classes, in_channels)

    @classmethod
    def parse(cls, name: str, num_classes: int, in_channels: int, drop_rate: float) -> HighwaySpec | None:
        """Return the spec of ``highway-19``, or of ``highway-10-8``: depth and width of the first stage."""
        match = re.fullmatch(r"highway-(\d{1,4})(?:-(\d{1,4}))?", name)
        if not match:
            return None
        check_no_dropout(name, drop_rate)
        if match[2] is None:
            return cls.published(int(match[1]), num_classes, in_channels)
        return cls.small(int(match[1]), int(match[2]), num_classes, in_channels)

    @property
    def depth(self) -> int:
        """The number of layers with weights; gates are parallel to their layers and not counted."""
        return sum(self.stage_config) + 1

    def block_ends(self) -> dict[str, int]:
        return {f"stage{s}": width for s, width in enumerate(self.stage_widths, start=1)}

    @property
    def sample_layer(self) -> str:
        """The last layer of the first stage, which has a gate if the stage has more than one layer."""
        return f"stage1.{self.stage_config[0] - 1}"

    @property
    def family(self) -> str:
        return "Highway Network"

    @property
    def title(self) -> str:
        """Such as "Highway Network-19 (32-80-128)": depth and widths."""
        return f"Highway Network-{self.depth} ({'-'.join(map(str, self.stage_widths))})"

    def add_layers(self, walk: LayerWalk) -> None:
        for s, (num_layers, width) in enumerate(zip(self.stage_config, self.stage_widths, strict=True), start=1):
            walk.stage = f"stage{s}"
            if s > 1:
                walk.add(f"stage{s}.pool", "max_pool", kernel=2, stride=2)
            for layer in range(num_layers):
                name = f"stage{s}.{layer}"
                walk.add(f"{name}.conv", "conv", width, kernel=3, has_bias=True)
                conv = walk.layers[-1]
                walk.add(f"{name}.relu", "relu")
                if layer > 0:
                    walk.insert([conv._replace(name=f"{name}.gate", is_branch=True)])
                    walk.add(f"{name}.gate.sigmoid", "sigmoid")
                    walk.add(f"{name}.mix", "gate")
        walk.add_head(None, "fc", self.num_classes)

    def paths(self) -> PathGraph:
        """Return the graph, in which a gated layer's own input is a path of length 0; the first layer is the stem."""
        graph = PathGraph(length=1)
        for s, num_layers in enumerate(self.stage_config, start=1):
            for layer in range(1 if s == 1 else 0, num_layers):
                graph.add_residual(f"stage{s}.{layer}", f"stage{s}", 1, 0 if layer else None)
        graph.add_classifier()
        return graph
