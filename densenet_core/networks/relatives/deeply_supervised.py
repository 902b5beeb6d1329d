"""Deeply-Supervised Nets: classifiers of their own on the hidden layers of a network."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.networks.build import build_model
from densenet_core.networks.network import Network
from densenet_core.networks.relatives.deeply_supervised_spec import DeeplySupervisedSpec


class SupervisedScores(NamedTuple):
    """What a deeply supervised network gives in training."""

    scores: Tensor  # (N, num_classes)
    companions: list[Tensor]  # (N, num_classes) each
    weight: float  # of the companions' losses at the training's start


class DeeplySupervised(Network):
    """A network with companions: global average pooling and a linear layer each.

    (N, in_channels, H, W) -> (N, num_classes), unnormalised scores; in training mode ``SupervisedScores``.
    """

    spec: DeeplySupervisedSpec

    def __init__(self, spec: DeeplySupervisedSpec) -> None:
        super().__init__()
        self.spec = spec
        self.network = build_model(spec.base)
        self.companions = nn.ModuleList(nn.Linear(maps, spec.num_classes) for maps in spec.hidden_ends.values())
        self._hidden: list[Tensor] = []
        for name in spec.hidden_ends:
            self.network.get_submodule(name).register_forward_hook(self._keep)

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
