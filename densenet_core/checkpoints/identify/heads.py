"""The classifiers that networks have besides one linear layer, under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from densenet_core.arrays import Array

POOLED = "global average pooling behind the 1x1 convolution that ends the network"


def with_plain_head(state_dict: Mapping[str, Array]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the state dict with our names for the classifier, and what is assumed about it, in words.

    Several linear layers are numbered as in an ``nn.Sequential`` with ReLUs between them. A 1x1 convolution becomes the
    linear layer that computes the same behind global average pooling, with a bias of 0 where it has none.

    >>> with_plain_head({"classifier.1.weight": np.ones((5, 8, 1, 1))})[0]["classifier.weight"].shape
    (5, 8)
    """
    layers = {key.removesuffix(".weight") for key in state_dict if re.fullmatch(r"classifier(\..+)?\.weight", key)}
    ours = _our_names(sorted(layers, key=_natural))
    modules = {key: key.rpartition(".") for key in state_dict}
    state = {f"{ours.get(name, name)}.{part}": state_dict[key] for key, (name, _, part) in modules.items()}
    weight = state.get("classifier.weight")
    if len(state) < len(state_dict) or weight is None or weight.ndim < 3 or set(weight.shape[2:]) != {1}:
        return (state if len(state) == len(state_dict) else dict(state_dict)), ()
    state["classifier.weight"] = weight.reshape(weight.shape[:2])
    state.setdefault("classifier.bias", np.zeros(len(weight), weight.dtype))
    return state, (POOLED,)


def _our_names(layers: list[str]) -> dict[str, str]:
    if len(layers) == 1:
        return {layers[0]: "classifier"}
    return {layer: f"classifier.{2 * number}" for number, layer in enumerate(layers)}


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts numbers in names as numbers."""
    parts = re.findall(r"\d{1,9}|\D+", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
