"""The architecture of Deeply-Supervised Nets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from densenet_core.networks.densenet_spec import DenseNetSpec, Stem
from densenet_core.networks.fractalnet_spec import FractalNetSpec
from densenet_core.networks.highway_spec import HighwaySpec
from densenet_core.networks.resnet_spec import EXPANSION, ResNetSpec

BaseSpec = DenseNetSpec | ResNetSpec | HighwaySpec | FractalNetSpec


@dataclass(frozen=True)
class DeeplySupervisedSpec:
    """A network with a companion classifier behind each of its blocks (Lee, Xie, Gallagher, Zhang, Tu 2015).

    Behind the last block stands the network's own classifier. The companions serve training alone.
    """

    base: BaseSpec
    companion_weight: float = 0.3  # of the companions' losses at the start; it falls to 0 over the training

    def __post_init__(self) -> None:
        if not isinstance(self.base, BaseSpec):
            raise ValueError(f"base is a {type(self.base).__name__}: give the spec of a network without companions")
        if not self.companion_weight > 0:
            raise ValueError(f"companion_weight {self.companion_weight} must be above 0")
        if not self.hidden_ends:
            raise ValueError(f"{self.base.title} has one block alone: there is no hidden one to supervise")

    @property
    def hidden_ends(self) -> dict[str, int]:
        """The blocks that a companion reads: module's name -> feature maps; all but the last."""
        return dict(list(_block_ends(self.base).items())[:-1])

    @property
    def num_classes(self) -> int:
        return self.base.num_classes

    @property
    def in_channels(self) -> int:
        return self.base.in_channels

    @property
    def depth(self) -> int:
        """The network's own; companions stand beside it."""
        return self.base.depth

    @property
    def stem(self) -> Stem:
        return self.base.stem

    @property
    def spatial_dims(self) -> int:
        return self.base.spatial_dims

    @property
    def family(self) -> str:
        return "Deeply Supervised Net"

    @property
    def title(self) -> str:
        """Such as "Deeply Supervised ResNet-20"."""
        return f"Deeply Supervised {self.base.title}"


def _block_ends(spec: BaseSpec) -> dict[str, int]:
    """Module's name -> feature maps that leave it, of every block of dense layers, residual blocks, ..."""
    widths: Sequence[int]
    if isinstance(spec, DenseNetSpec):
        form, widths = "features.denseblock{}", spec.block_outputs
    elif isinstance(spec, ResNetSpec):
        form, widths = "layer{}", [planes * EXPANSION[spec.block] for planes in spec.stage_planes]
    elif isinstance(spec, HighwaySpec):
        form, widths = "stage{}", spec.stage_widths
    else:
        form, widths = "block{}", spec.widths
    return {form.format(number): maps for number, maps in enumerate(widths, start=1)}
