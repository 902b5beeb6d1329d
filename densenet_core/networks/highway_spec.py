"""The architecture of Highway Networks."""

from __future__ import annotations

from dataclasses import dataclass

from densenet_core.networks.densenet_spec import Stem, check_counts

# Layers and feature maps of each stage. The authors print about 2.3M parameters for 19 layers, which have the widths of
# FitNet 4 (32 and 48, 80, 128) and a hidden fully connected layer, and 1.25M for 32 layers, of unknown widths.
_PUBLISHED: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    19: ((6, 6, 6), (32, 80, 128)),
    32: ((11, 10, 10), (24, 40, 72)),
}
_STAGES = 3


@dataclass(frozen=True)
class HighwaySpec:
    """The architecture of one convolutional Highway Network (Srivastava, Greff, Schmidhuber 2015).

    ``HighwaySpec.published`` gives networks as deep as the authors', ``HighwaySpec.small`` those of any width.
    """

    stage_config: tuple[int, ...]  # layers in each stage; the first of them has no gate, for it changes the width
    stage_widths: tuple[int, ...]  # feature maps of each stage
    num_classes: int = 10
    in_channels: int = 3
    gate_bias: float = -2.0  # where the gates' biases start: below 0, so that a layer first carries its input on

    def __post_init__(self) -> None:
        check_counts(self, "stage_config", ("num_classes", "in_channels"))
        check_counts(self, "stage_widths", ())
        if len(self.stage_config) != len(self.stage_widths):
            raise ValueError(f"stage_widths {self.stage_widths} needs a number for each of stage_config's")
        if not self.gate_bias < 0:
            raise ValueError(f"gate_bias {self.gate_bias} must be below 0: the layers are to start as carriers")

    @classmethod
    def published(cls, depth: int, num_classes: int = 10, in_channels: int = 3) -> HighwaySpec:
        """The network of 19 or 32 layers, fully convolutional, with one width a stage: 2.3M and 1.2M parameters.

        Raises:
            ValueError: ``depth`` is neither.
        """
        if depth not in _PUBLISHED:
            raise ValueError(f"depth {depth} is none of 19, 32: others are named with a width, as highway-10-8")
        return cls(*_PUBLISHED[depth], num_classes=num_classes, in_channels=in_channels)

    @classmethod
    def small(cls, depth: int, width: int, num_classes: int = 10, in_channels: int = 3) -> HighwaySpec:
        """Three equal stages of ``width``, twice and four times as many feature maps.

        Raises:
            ValueError: ``depth`` is not 3n+1; the nearest that are, are named.
        """
        layers, rest = divmod(depth - 1, _STAGES)
        if rest or layers < 1:
            nearest = " and ".join(str(_STAGES * n + 1) for n in sorted({max(layers, 1), max(layers + 1, 1)}))
            raise ValueError(f"depth {depth} is not 3*n+1: the nearest are {nearest}")
        return cls((layers,) * _STAGES, (width, 2 * width, 4 * width), num_classes, in_channels)

    @property
    def spatial_dims(self) -> int:
        """Dimensions of the images: 2."""
        return 2

    @property
    def depth(self) -> int:
        """Layers with weights; a layer's gate stands beside it and is not counted."""
        return sum(self.stage_config) + 1

    @property
    def stem(self) -> Stem:
        """cifar: there is no stem that reduces the image."""
        return "cifar"

    @property
    def family(self) -> str:
        return "Highway Network"

    @property
    def title(self) -> str:
        """Such as "Highway Network-19 (32-80-128)": depth and widths."""
        return f"Highway Network-{self.depth} ({'-'.join(map(str, self.stage_widths))})"
