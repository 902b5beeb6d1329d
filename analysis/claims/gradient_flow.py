"""The gradient that reaches each layer (the paper's motivation, section 1: vanishing gradients)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.claims.path_gradients import path_gradients
from analysis.reuse.connections import as_checkpoint, dense_spec
from analysis.reuse.untrained import build_untrained, set_statistics
from densenet_core import Checkpoint, DenseNetSpec
from densenet_core.data.images import Images, sample_evenly
from densenet_core.networks.network import evaluation_mode
from densenet_core.networks.resnet_spec import ResNetSpec
from densenet_core.training.evaluation import check_fit

UNTRAINED = ", untrained"  # in the names of networks


def gradient_flow(networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor) -> pd.DataFrame:
    """Return the gradient of the loss at every convolution and linear layer of networks, on one batch.

    As in a training step, batch norms use the batch's statistics; dropout is off, and the networks are left as they
    were.

    Args:
        networks: by the names to show.
        images: (N, C, H, W).
        labels: (N,)

    Returns:
        One row per layer, in the order in which they run: network, layer (1-based), position (0: first, 1: last), name,
        output_gradient (L2 norm over the batch of the gradient of the mean cross-entropy by the layer's output),
        weight_gradient (L2 norm of the gradient by its weights).
    """
    rows: list[tuple[object, ...]] = []
    for network, model in networks.items():
        found = _norms(model, images, labels)
        last = max(1, len(found) - 1)
        rows += [(network, i + 1, i / last, *norms) for i, norms in enumerate(found)]
    columns = ["network", "layer", "position", "name", "output_gradient", "weight_gradient"]
    return pd.DataFrame(rows, columns=columns)


def _norms(model: nn.Module, images: Tensor, labels: Tensor) -> list[tuple[str, float, float]]:
    """Name, gradient by the output and gradient by the weights of each layer, in the order in which they run."""
    names: list[str] = []
    weights: list[Tensor] = []
    outputs: list[Tensor] = []

    def keep(name: str) -> object:
        def hook(module: nn.Module, _: object, output: Tensor) -> None:
            names.append(name)
            weights.append(module.get_parameter("weight"))
            outputs.append(output)

        return hook

    with _as_in_training(model):
        readers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
        handles = [module.register_forward_hook(keep(name)) for name, module in readers]  # type: ignore[arg-type]
        try:
            with torch.enable_grad():
                loss = F.cross_entropy(model(images), labels)
        finally:
            for handle in handles:
                handle.remove()
        gradients = torch.autograd.grad(loss, [*outputs, *weights])
    norms = [gradient.norm().item() for gradient in gradients]
    return list(zip(names, norms[: len(names)], norms[len(names) :], strict=True))


@contextmanager
def _as_in_training(model: nn.Module) -> Iterator[None]:
    """Use batch statistics in the norms, gradients for all weights, and no dropout; restored on exit."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    try:
        with evaluation_mode(model):  # without dropout
            for parameter in frozen:
                parameter.requires_grad_()
            for norm in norms:
                norm.train()
                norm.track_running_stats = False  # the running statistics stay as they are
            yield
    finally:
        for norm, value in zip(norms, tracked, strict=True):
            norm.track_running_stats = value
        for parameter in frozen:
            parameter.requires_grad_(False)


def controls(spec: DenseNetSpec) -> dict[str, ResNetSpec]:
    """Return a ResNet and a plain network of a DenseNet's depth, or the nearest depth 6n+2, by their titles."""
    depth = max(8, 6 * round((spec.depth - 2) / 6) + 2)
    resnet = ResNetSpec.cifar(depth, num_classes=spec.num_classes, in_channels=spec.in_channels)
    plain = ResNetSpec.plain(depth, spec.num_classes, spec.in_channels)
    return {resnet.title: resnet, plain.title: plain}


def flow_beside_controls(network: Checkpoint, images: Images, num_images: int = 64, seed: int = 0) -> pd.DataFrame:
    """Return ``gradient_flow`` of a network, of its architecture untrained, and of its controls, on one batch.

    Args:
        images: ``num_images`` of them are used, evenly spaced over the set.
        seed: of the untrained networks.

    Raises:
        CheckpointError: the network is not a DenseNet.
        DataError: the images do not fit it.
    """
    networks, batch, labels = _beside_controls(network, images, num_images, seed)
    return gradient_flow(networks, batch, labels)


def paths_beside_controls(network: Checkpoint, images: Images, num_images: int = 4, seed: int = 0) -> pd.DataFrame:
    """Return ``path_gradients`` of the same networks; the untrained ones take their statistics from the images."""
    networks, batch, labels = _beside_controls(network, images, num_images, seed)
    for name, model in networks.items():
        if name.endswith(UNTRAINED):
            set_statistics(model, images)
    return path_gradients(networks, batch, labels)


def _beside_controls(
    network: Checkpoint, images: Images, num_images: int, seed: int
) -> tuple[dict[str, nn.Module], Tensor, Tensor]:
    checkpoint = as_checkpoint(network)
    spec = dense_spec(checkpoint)
    check_fit(spec, images)
    networks: dict[str, nn.Module] = {f"{spec.title}, this network": checkpoint.to_model()}
    for title, own in {spec.title: spec, **controls(spec)}.items():
        networks[f"{title}{UNTRAINED}"] = build_untrained(own, seed=seed).to_model()
    return networks, *next(sample_evenly(images, num_images).batches(num_images))


def gradient_ratios(flow: pd.DataFrame) -> pd.Series:
    """Return, by network, the gradient by the outputs of the first third of the layers over that of the last third.

    Medians over the layers. Far below 1 where gradients vanish on their way to the first layers, far above 1 where
    they explode.
    """
    first = flow[flow["position"] <= 1 / 3].groupby("network", sort=False)["output_gradient"].median()
    last = flow[flow["position"] >= 2 / 3].groupby("network", sort=False)["output_gradient"].median()
    return first / last


def unevenness(flow: pd.DataFrame) -> pd.Series:
    """Return, by network, the factor by which gradients vanish or explode: 1 where they do neither."""
    ratios = gradient_ratios(flow)
    return ratios.where(ratios >= 1, 1 / ratios)
