"""The share of the gradient that arrives by paths of each length (after Veit, Wilber and Belongie 2016, section 4.3).

With the masks of its ReLUs and the statistics of its batch norms held fixed a network is linear, and the gradient of
the loss by the image is the sum of what arrives by each path from the image to the scores. Multiplying the gradient by
z at every layer with weights makes it a polynomial in z, whose coefficient of z^k is the part that arrives by all
paths of k layers. Its values at the roots of unity give the coefficients by a Fourier transform, so the shares are
exact, not sampled. Complex gradients run as pairs of real ones: each image is in the batch twice.
"""

from __future__ import annotations

import cmath
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densenet_core.networks.network import evaluation_mode


def path_gradients(networks: Mapping[str, nn.Module], images: Tensor, labels: Tensor) -> pd.DataFrame:
    """Return how much of the gradient by the image arrives by paths of each length.

    Batch norms use their running statistics, dropout is off, and the networks are left as they were.

    Args:
        networks: by the names to show.
        images: (N, C, H, W); memory grows with 2N.
        labels: (N,)

    Returns:
        One row per network and path length: network, length (layers with weights on the path, as in ``path_counts``),
        gradient (L2 norm over the batch of the gradient of the mean cross-entropy that arrives by all paths of this
        length together), share (of the sum of these norms).
    """
    rows = []
    for name, model in networks.items():
        norms = _norms_by_length(model, images, labels)
        total = norms.sum()
        rows += [(name, length, norm, norm / total) for length, norm in enumerate(norms) if length > 0]
    return pd.DataFrame(rows, columns=["network", "length", "gradient", "share"])


def share_of_short_paths(gradients: pd.DataFrame, depth: int) -> float:
    """Return the share of one network's gradient that arrives by paths of at most half its depth."""
    return float(gradients.loc[gradients["length"] <= depth / 2, "share"].sum())


def gradient_by_length(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient by the images by path length: (longest + 1, N, C, H, W); its sum is the whole gradient."""
    readers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    turn = _Turn()
    handles = [reader.register_forward_hook(turn) for reader in readers]
    try:
        with evaluation_mode(model), torch.enable_grad():
            twice = torch.cat((images, images)).detach().requires_grad_()
            scores = model(twice)[: len(images)]  # the first half carries the real parts
            loss = F.cross_entropy(scores, labels)
            values = [turn.gradient(loss, twice, k, len(readers) + 1) for k in range((len(readers) + 1) // 2 + 1)]
    finally:
        for handle in handles:
            handle.remove()
    # values at the remaining roots are the conjugates of these
    parts: Tensor = torch.fft.irfft(torch.stack(values).conj(), n=len(readers) + 1, dim=0)
    return parts


def _norms_by_length(model: nn.Module, images: Tensor, labels: Tensor) -> np.ndarray:
    norms: np.ndarray = gradient_by_length(model, images, labels).flatten(1).norm(dim=1).double().numpy()
    return norms


class _Turn:
    """A forward hook: gradients that pass it are multiplied by the complex number that is set."""

    def __init__(self) -> None:
        self.by = 1 + 0j

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        turned: Tensor = _TurnGradient.apply(output, self)
        return turned

    def gradient(self, loss: Tensor, images: Tensor, k: int, number: int) -> Tensor:
        """Return the gradient by the images at the k-th root of unity, complex: (N, C, H, W)."""
        self.by = cmath.exp(2j * cmath.pi * k / number)
        (found,) = torch.autograd.grad(loss, images, retain_graph=True)
        return torch.complex(*found.chunk(2))


class _TurnGradient(torch.autograd.Function):
    """Identity forward; backward, (real, imaginary) pairs along the batch are multiplied by ``turn.by``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, turn: _Turn) -> Tensor:
        ctx.turn = turn
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        a, b = ctx.turn.by.real, ctx.turn.by.imag
        real, imaginary = gradient.chunk(2)
        return torch.cat((a * real - b * imaginary, b * real + a * imaginary)), None
