"""Evidence for claims on a network: its checkpoint, images, and the networks that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from analysis.claims.claim import NotMeasurable
from analysis.claims.generalization import GapComparison, compare_gaps
from analysis.claims.gradient_flow import controls, gradient_flow, unevenness
from analysis.claims.path_gradients import path_gradients, share_of_short_paths
from analysis.claims.redundancy import redundancy
from analysis.reuse.connections import dense_spec
from analysis.reuse.untrained import build_untrained
from analysis.words import Phrase
from densenet_core import Checkpoint, DenseNetSpec, ResNetSpec
from densenet_core.data.images import Images, sample_evenly

NO_IMAGES = Phrase("claim_reasons.no_images", "it is measured on images, and none were given")
NUM_FOR_GRADIENTS = 64  # images, one batch
NUM_FOR_PATHS = 4  # images: their gradients are computed once for each path length
NUM_SEEDS = 5


@dataclass(frozen=True, eq=False)
class Evidence:
    """A DenseNet and what else is known; each measurement runs once."""

    network: Checkpoint
    images: Images | None = None  # labeled test images
    train_images: Images | None = None  # without augmentation
    beside: tuple[Checkpoint, ...] = ()  # a ResNet that was trained on the same data, or several seeds of it
    seeds: tuple[Checkpoint, ...] = ()  # further runs of the network, which differ from it in the seed

    @property
    def spec(self) -> DenseNetSpec:
        """The network's architecture."""
        return dense_spec(self.network)

    @property
    def seen(self) -> Images:
        """The test images.

        Raises:
            NotMeasurable: there are none.
        """
        if self.images is None:
            raise NotMeasurable(NO_IMAGES)
        return self.images

    def without_training(self, seed: int) -> Evidence:
        """Return the same evidence from a network that was only initialized."""
        return replace(self, network=build_untrained(self.spec, self.images, seed), beside=(), seeds=())

    @cached_property
    def redundancy(self) -> pd.DataFrame:
        """``redundancy`` of the network's feature maps."""
        return redundancy(self.network, self.seen, len(self.seen))

    @cached_property
    def gaps(self) -> GapComparison:
        """``compare_gaps`` of the network, with its seeds, and the ResNets."""
        return compare_gaps((self.network, *self.seeds), self.beside, self.train_images, self.images)

    @cached_property
    def unevenness(self) -> float:
        """The factor by which gradients vanish or explode."""
        batch = next(sample_evenly(self.seen, NUM_FOR_GRADIENTS).batches(NUM_FOR_GRADIENTS))
        return float(unevenness(gradient_flow({"": self.network.to_model()}, *batch)).item())

    @cached_property
    def plain_unevenness(self) -> tuple[str, float]:
        """The same of an untrained plain network of the same depth, mean over seeds."""
        spec = self._control("none")
        batch = next(sample_evenly(self.seen, NUM_FOR_GRADIENTS).batches(NUM_FOR_GRADIENTS))
        networks = {str(seed): build_untrained(spec, seed=seed).to_model() for seed in range(NUM_SEEDS)}
        return _untrained(spec), float(unevenness(gradient_flow(networks, *batch)).mean())

    @cached_property
    def short_share(self) -> float:
        """The share of the gradient by paths of at most half the depth."""
        batch = next(sample_evenly(self.seen, NUM_FOR_PATHS).batches(NUM_FOR_PATHS))
        return share_of_short_paths(path_gradients({"": self.network.to_model()}, *batch), self.spec.depth)

    @cached_property
    def resnet_short_share(self) -> tuple[str, float]:
        """The same of an untrained ResNet of the same depth."""
        spec = self._control("identity")
        model = build_untrained(spec, self.seen).to_model()
        batch = next(sample_evenly(self.seen, NUM_FOR_PATHS).batches(NUM_FOR_PATHS))
        return _untrained(spec), share_of_short_paths(path_gradients({"": model}, *batch), spec.depth)

    def _control(self, shortcut: str) -> ResNetSpec:
        """Return the control without shortcuts ("none"), or the one with them."""
        return next(spec for spec in controls(self.spec).values() if (spec.shortcut == "none") == (shortcut == "none"))


def _untrained(spec: ResNetSpec) -> Phrase:
    return Phrase("claim_controls.untrained", "{network}, untrained", network=spec.title)
