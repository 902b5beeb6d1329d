"""Deeply-Supervised Nets: classifiers of their own on the hidden layers of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.relatives.fractalnet import FractalNetSpec
from densenet_core.relatives.highway import HighwaySpec
from densenet_core.resnet_spec import EXPANSION, ResNetSpec
from densenet_core.spec import DenseNetSpec, Stem

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


class SupervisedScores(NamedTuple):
    """What a deeply supervised network gives in training."""

    scores: Tensor  # (N, num_classes)
    companions: list[Tensor]  # (N, num_classes) each
    weight: float  # of the companions' losses at the training's start


class DeeplySupervised(nn.Module):
    """A network with companions: global average pooling and a linear layer each.

    (N, in_channels, H, W) -> (N, num_classes), unnormalised scores; in training mode ``SupervisedScores``.
    """

    def __init__(self, spec: DeeplySupervisedSpec, network: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.network = network
        self.companions = nn.ModuleList(nn.Linear(maps, spec.num_classes) for maps in spec.hidden_ends.values())
        self._hidden: list[Tensor] = []
        for name in spec.hidden_ends:
            network.get_submodule(name).register_forward_hook(self._keep)

    def forward(self, x: Tensor) -> Tensor | SupervisedScores:
        scores: Tensor = self.network(x)
        hidden, self._hidden = self._hidden, []
        if not self.training:
            return scores
        companions = [c(maps.flatten(2).mean(2)) for c, maps in zip(self.companions, hidden, strict=True)]
        return SupervisedScores(scores, companions, self.spec.companion_weight)

    def _keep(self, _: nn.Module, __: object, maps: Tensor) -> None:
        if self.training:
            self._hidden.append(maps)


def training_loss(
    outputs: Tensor | SupervisedScores, labels: Tensor, done: float = 0.0, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy of what any network gives in training mode, and its scores, both in float32.

    The companions' losses are added; their weight falls linearly to 0, with 1 - t/N at epoch t of N as in Lee et al.
    2015.

    Args:
        done: share of the training's epochs that are over, 0..1.
    """
    if not isinstance(outputs, SupervisedScores):
        outputs = SupervisedScores(outputs, [], 0.0)
    losses = [_cross_entropy(scores, labels, label_smoothing) for scores in (outputs.scores, *outputs.companions)]
    weight = outputs.weight * (1 - done)
    return losses[0] + weight * sum(losses[1:], start=losses[0].new_zeros(())), outputs.scores.float()


def _cross_entropy(scores: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    return F.cross_entropy(scores.float(), labels, label_smoothing=label_smoothing)


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
