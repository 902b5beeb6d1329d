"""Measured times of networks on this machine; compared networks take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import pandas as pd
import torch
from torch import nn

from densenet_core.hardware import device, hardware
from densenet_core.networks.build import build_model
from densenet_core.networks.layers import network_layers
from densenet_core.networks.relatives.deeply_supervised import compute_loss
from densenet_core.networks.spec import Spec


def measure_latency(
    networks: Mapping[str, Spec], input_size: int, batch_size: int = 1, repeats: int = 10, training: bool = True
) -> pd.DataFrame:
    """Measure the median time of a forward pass and, with ``training``, of a training step and the memory it keeps.

    The networks take turns, so a busy machine slows all of them alike; the first turn is a warm-up.

    Returns:
        Columns network, forward_ms, images_per_s (of the forward pass), step_ms (forward, backward and an update by
        SGD), kept_bytes (what autograd kept for the backward pass), batch_size, input_size, hardware.

    Raises:
        ValueError: the input is too small for a network, or for the batch norms of a training step of one image.
    """
    if training:
        _check_norms(networks, input_size, batch_size)
    models = {name: build_model(spec).to(device()) for name, spec in networks.items()}
    inputs = {
        name: torch.randn(batch_size, spec.in_channels, *(input_size,) * spec.spatial_dims, device=device())
        for name, spec in networks.items()
    }
    forward: dict[str, list[float]] = {name: [] for name in networks}
    step: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(repeats + 1):
        for name, model in models.items():
            forward[name].append(_seconds(_forward, model, inputs[name]))
            if training:
                step[name].append(_seconds(_step, model, inputs[name]))
    table = pd.DataFrame({"network": list(networks)})
    seconds = [statistics.median(forward[name][1:]) for name in networks]
    table["forward_ms"] = [1000 * s for s in seconds]
    table["images_per_s"] = [batch_size / s for s in seconds]
    if training:
        table["step_ms"] = [1000 * statistics.median(step[name][1:]) for name in networks]
        table["kept_bytes"] = [_kept_bytes(model.train(), inputs[name]) for name, model in models.items()]
    return table.assign(batch_size=batch_size, input_size=input_size, hardware=hardware())


def _check_norms(networks: Mapping[str, Spec], input_size: int, batch_size: int) -> None:
    """Raise ValueError if a batch norm gets one value for each feature map."""
    for name, spec in networks.items():
        norms = (layer.out_size for layer in network_layers(spec, input_size) if layer.kind == "norm")
        if batch_size * min(norms, default=2) ** spec.spatial_dims < 2:
            raise ValueError(
                f"{name} leaves one pixel of an image of {input_size} pixels a side, too few for a training step's "
                "batch norm: use a larger input or a larger batch"
            )


def _seconds(run: Callable[[nn.Module, torch.Tensor], None], model: nn.Module, images: torch.Tensor) -> float:
    start = time.perf_counter()
    run(model, images)
    if images.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _forward(model: nn.Module, images: torch.Tensor) -> None:
    model.eval()
    with torch.inference_mode():
        model(images)


def _step(model: nn.Module, images: torch.Tensor) -> None:
    model.train()
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    compute_loss(model(images), labels)[0].backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=1e-6)
                parameter.grad = None


def _kept_bytes(model: nn.Module, images: torch.Tensor) -> int:
    """Return the bytes of all tensors that autograd keeps for the backward pass, without the model's own."""
    own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scores = model(images)
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del scores
    return total
