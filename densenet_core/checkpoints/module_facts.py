"""Facts that a module shows, live or pickled, and its state dict does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.layouts import OUR_EPSILON
from densenet_core.networks.layers import NormKind

if TYPE_CHECKING:
    from torch import nn

_KINDS: dict[str, NormKind] = {"GroupNorm": "group", "LayerNorm": "layer"}
_KINDS |= {"LayerNorm2d": "layer"}  # torchvision's and timm's
_KINDS |= {f"InstanceNorm{dims}d": "instance" for dims in (1, 2, 3)}
_KINDS |= dict.fromkeys(("SyncBatchNorm", *(f"BatchNorm{dims}d" for dims in (1, 2, 3))), "batch_statistics")


class NormFacts(NamedTuple):
    """Facts from a norm's class and attributes."""

    words: str  # "group-16", another of ``NORM_KINDS``, or a class that is not known
    epsilon: float


def norm_facts(class_name: str, num_groups: object, epsilon: object, has_statistics: bool) -> NormFacts | None:
    """Return the facts about a module; None if it is no norm.

    >>> norm_facts("torch.nn.modules.normalization.GroupNorm", 8, 1e-5, has_statistics=False)
    NormFacts(words='group-8', epsilon=1e-05)
    """
    name = class_name.rpartition(".")[2]
    if "Norm" not in name or not isinstance(epsilon, float) or not 0 <= epsilon < 1:
        return None
    words = "batch" if has_statistics else _KINDS.get(name, name)
    return NormFacts(f"group-{num_groups}" if words == "group" else words, epsilon)


def find_norms(module: nn.Module) -> dict[str, NormFacts]:
    """Return the facts about every norm of a module, by name."""
    found = {}
    for name, part in module.named_modules():
        attributes = getattr(part, "num_groups", 0), getattr(part, "eps", None)
        facts = norm_facts(type(part).__name__, *attributes, getattr(part, "running_var", None) is not None)
        if facts is not None:
            found[name] = facts
    return found


def kind_of(norms: Mapping[str, NormFacts]) -> str | None:
    """Return the kind of norms without running statistics, such as "group-16"; None if some have running statistics.

    >>> kind_of({"a": NormFacts("group-16", 1e-5), "b": NormFacts("group-8", 1e-5)})
    'group-16 and group-8'
    """
    kinds = dict.fromkeys(norm.words for norm in norms.values())
    return None if "batch" in kinds or not kinds else " and ".join(kinds)


def with_our_epsilon(
    tensors: Mapping[str, Array], norms: Mapping[str, NormFacts]
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the tensors of the same function with batch norms' epsilon of 1e-5, and what was done, in words.

    The difference is added to the running variance. Norms without one keep theirs, which is said.
    """
    arrays, added, differing = dict(tensors), set[float](), set[float]()
    for name, norm in norms.items():
        variance = arrays.get(f"{name}.running_var")
        if norm.epsilon == OUR_EPSILON:
            continue
        if variance is None:
            differing.add(norm.epsilon)
            continue
        arrays[f"{name}.running_var"] = variance + np.asarray(norm.epsilon - OUR_EPSILON, variance.dtype)
        added.add(norm.epsilon)
    notes = [f"the norms' epsilon of {epsilon:g} is part of their running variances" for epsilon in sorted(added)]
    notes += [f"the norms' epsilon is {epsilon:g}, and 1e-05 is computed with" for epsilon in sorted(differing)]
    return arrays, tuple(notes)
