"""Deeply-Supervised Nets: networks with additional classifiers on hidden layers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.networks.build import build_model
from densenet_core.networks.network import Network
from densenet_core.networks.relatives.deeply_supervised_spec import DeeplySupervisedSpec


class SupervisedScores(NamedTuple):
    """The output of a deeply supervised network in training mode."""

    scores: Tensor  # (N, num_classes)
    companions: list[Tensor]  # (N, num_classes) each
    weight: float  # weight of the companions' losses at the start of the training


class DeeplySupervised(Network):
    """A network with a companion classifier, global average pooling and a linear layer, after each hidden block.

    Shape: (N, in_channels, H, W) -> (N, num_classes), unnormalized scores; ``SupervisedScores`` in training mode.
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


def compute_loss(
    outputs: Tensor | SupervisedScores, labels: Tensor, done: float = 0.0, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy and the scores, in float32, from the output of any network in training mode.

    The losses of companions are added with a weight that decreases linearly to 0: it is multiplied by 1 - t/N at epoch
    t of N (Lee et al. 2015).

    Args:
        outputs: (N, num_classes), or ``SupervisedScores``.
        labels: (N,)
        done: The fraction of the training's epochs that are complete, from 0 to 1.
        label_smoothing: As for ``torch.nn.functional.cross_entropy``.
    """
    if not isinstance(outputs, SupervisedScores):
        outputs = SupervisedScores(outputs, [], 0.0)
    losses = [_cross_entropy(scores, labels, label_smoothing) for scores in (outputs.scores, *outputs.companions)]
    weight = outputs.weight * (1 - done)
    return losses[0] + weight * sum(losses[1:], start=losses[0].new_zeros(())), outputs.scores.float()


def _cross_entropy(scores: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    return F.cross_entropy(scores.float(), labels, label_smoothing=label_smoothing)
