"""Networks that were only initialized: the null of what training does."""

from __future__ import annotations

import torch
from torch import nn

from analysis.architecture.as_spec import SpecLike, as_spec
from densenet_core import Checkpoint
from densenet_core.data.images import Images, sample_evenly
from densenet_core.networks.build import build_model

NUM_FOR_STATISTICS = 100  # images that set the running statistics of an untrained network


def build_untrained(spec: SpecLike, images: Images | None = None, seed: int = 0) -> Checkpoint:
    """Return a newly initialized, untrained network.

    Args:
        spec: the architecture, a checkpoint of it, or its name.
        images: images for the running statistics of its batch norms; without them, the norms pass their inputs on.
        seed: the seed of the weights; the global random state does not change.

    Returns:
        A checkpoint with an empty record.

    Example:
        >>> from densenet_core import load_zoo
        >>> build_untrained(load_zoo("densenet-40-12-digits").spec).record  # no error, no epochs
        {}
    """
    spec = as_spec(spec)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(spec)
        if images is not None:
            set_statistics(model, images)
    return Checkpoint(spec, {key: tensor.detach() for key, tensor in model.state_dict().items()})


def set_statistics(model: nn.Module, images: Images) -> None:
    """Set the running statistics of a network's batch norms to the images' statistics, as training would."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    was_training, momenta = model.training, [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = None  # the mean over all batches
        with torch.no_grad():
            for batch, _ in sample_evenly(images, NUM_FOR_STATISTICS).batches(50):
                model.train()(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)
