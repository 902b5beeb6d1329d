"""The gates of a trained Highway Network, measured on images (Srivastava et al. 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from analysis.architecture.short_paths import COLUMNS
from densenet_core import Checkpoint
from densenet_core.data.images import Images, sample_evenly
from densenet_core.networks.relatives.highway import Highway
from densenet_core.training.evaluation import check_fit


def transform_gates(network: Checkpoint, images: Images, num_images: int = 256) -> pd.DataFrame:
    """Return how far the gates of a Highway Network are open on images: the mean of T(x) for every layer with a gate.

    >>> from densenet_core import Checkpoint, HighwaySpec, create_model
    >>> from densenet_core.data.datasets import load_test_images
    >>> model = create_model("highway-10-8", in_channels=1)
    >>> network = Checkpoint(model.spec, model.state_dict())
    >>> list(transform_gates(network, load_test_images("digits"), 20).columns)
    ['network', 'block', 'layer', 'name', 'mean_gate']

    Args:
        images: ``num_images`` of them are used, evenly spaced over the set.

    Returns:
        Columns network, block (the stage), layer (1-based among the gated layers of the stage), name, mean_gate (0: the
        layer passes its input unchanged, 1: it replaces it; the mean over images, feature maps and pixels).

    Raises:
        ValueError: the network has no gates.
        DataError: the images do not fit it.
    """
    rows = [
        (network.spec.title, block, layer, f"stage{block}.{layer}", mean)
        for block, stage in _mean_over_batches(network, images, num_images, lambda gates: gates.mean((1, 2, 3, 4)))
        for layer, mean in enumerate(stage.tolist(), start=1)
    ]
    return pd.DataFrame(rows, columns=["network", "block", "layer", "name", "mean_gate"])


def carried_shares(network: Checkpoint, images: Images, num_images: int = 256) -> pd.DataFrame:
    """Return the share of each layer's output in the input of each later layer: feature reuse in a Highway Network.

    The output of a layer has the share T of new features and 1 - T of its input. So layer s has the share
    T_s (1 - T_{s+1}) ... (1 - T_{t-1}) in the input of layer t, and the input of the stage has the rest: the shares of
    a target sum to 1.

    >>> from densenet_core import Checkpoint, HighwaySpec, create_model
    >>> from densenet_core.data.datasets import load_test_images
    >>> model = create_model("highway-10-8", in_channels=1)
    >>> network = Checkpoint(model.spec, model.state_dict())
    >>> list(carried_shares(network, load_test_images("digits"), 20).columns)
    ['network', 'block', 'source_layer', 'target_layer', 'target_kind', 'share_carried']

    Args:
        images: ``num_images`` of them are used, evenly spaced over the set.

    Returns:
        Columns network, block (the stage), source_layer (0: the output of the stage's first layer, which has no gate),
        target_layer, target_kind, share_carried (mean over images, feature maps and pixels).

    Raises:
        ValueError: the network has no gates.
        DataError: the images do not fit it.
    """
    rows = []
    stages = dict(_mean_over_batches(network, images, num_images, _shares))
    for block, shares in stages.items():  # (n+1, n+1): source, target
        size = len(shares)
        last = "transition" if block < len(stages) else "classifier"
        rows += [
            (network.spec.title, block, s, t, last if t == size else "layer", float(shares[s, t - 1]))
            for t in range(1, size + 1)
            for s in range(t)
        ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "share_carried"])


def _shares(gates: Tensor) -> Tensor:
    """Return the mean share of each source in each target's input: (layers, N, C, H, W) -> (layers + 1, layers + 1)."""
    left = [torch.ones_like(gates[0])]  # share of each source in the input of the current target
    size = len(gates) + 1
    shares = torch.zeros(size, size)
    for target in range(size):
        shares[: target + 1, target] = torch.stack([share.mean() for share in left])
        if target < size - 1:
            left = [share * (1 - gates[target]) for share in left] + [gates[target]]
    return shares


def _mean_over_batches(
    network: Checkpoint, images: Images, num_images: int, measure: Any
) -> Iterator[tuple[int, Tensor]]:
    """Yield each stage (from 1) and the mean over images of a measure of its gates, (layers, N, C, H, W)."""
    model = network.to_model()
    if not isinstance(model, Highway):
        raise ValueError(f"only Highway Networks have gates: this is a {network.spec.title}")
    check_fit(model.spec, images)
    chosen = sample_evenly(images, num_images)
    sums: dict[int, Tensor] = {}
    for batch, _ in chosen.batches(64):
        for block, gates in _run_gates(model, batch).items():
            sums[block] = sums.get(block, 0) + len(batch) * measure(gates)
    yield from ((block, total / len(chosen)) for block, total in sums.items())


def _run_gates(model: Highway, batch: Tensor) -> dict[int, Tensor]:
    """Return T(x) of the gated layers by stage: (layers, N, C, H, W); stages without gates have no entry."""
    found: dict[str, Tensor] = {}
    gates = {name: module for name, module in model.named_modules() if name.endswith(".gate")}
    hooks = [
        gate.register_forward_hook(lambda _, __, out, name=name: found.update({name: torch.sigmoid(out)}))
        for name, gate in gates.items()
    ]
    try:
        with torch.inference_mode():
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    stages = {block: [t for name, t in found.items() if name.startswith(f"stage{block}.")] for block in _blocks(model)}
    return {block: torch.stack(stage) for block, stage in stages.items() if stage}


def _blocks(model: Highway) -> range:
    return range(1, len(model.spec.stage_config) + 1)
