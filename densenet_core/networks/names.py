"""Networks by name, as users type them."""

from __future__ import annotations

import difflib

from densenet_core.networks.densenet_spec import IMAGENET_VARIANTS
from densenet_core.networks.families import FAMILIES
from densenet_core.networks.spec import Spec

MODEL_NAMES = tuple(name for family in FAMILIES for name in family.spec.EXAMPLES)  # the published networks


def spec_from_name(name: str, num_classes: int | None = None, in_channels: int = 3, drop_rate: float = 0.0) -> Spec:
    """Return the spec of a network by its name.

    ``MODEL_NAMES`` lists the published networks; other sizes are written in the same way. Each family documents its
    names in the ``parse`` method of its spec.

    >>> spec_from_name("densenet-bc-100-12").title
    'DenseNet-BC (L=100, k=12)'
    >>> spec_from_name("dsn-resnet-56").title
    'Deeply Supervised ResNet-56'
    >>> spec_from_name("densenet121").num_classes
    1000

    Args:
        num_classes: The number of classes the network predicts; by default 1,000 if it is for ImageNet, else 10.
        in_channels: The number of channels of its input image.
        drop_rate: The probability of dropout, for DenseNets and Wide ResNets.

    Raises:
        ValueError: No network has this name, or its depth does not fit; the nearest are named.
    """
    if not isinstance(name, str):
        raise ValueError(f"name is a {type(name).__name__}: give a name such as 'densenet121', or DenseNet(spec)")
    for family in FAMILIES:
        if spec := family.spec.parse(name, 10 if num_classes is None else num_classes, in_channels, drop_rate):
            is_of_imagenet = num_classes is None and spec.stem == "imagenet"
            return spec_from_name(name, 1000, in_channels, drop_rate) if is_of_imagenet else spec
    nearest = difflib.get_close_matches(name, MODEL_NAMES, n=3, cutoff=0.0)
    patterns = ", ".join(pattern for family in FAMILIES for pattern in family.spec.PATTERNS)
    raise ValueError(f"unknown network {name!r}: the nearest are {', '.join(nearest)} ({patterns})")


def published_spec(name: str) -> Spec:
    """Return the spec of a network as published: with 1,000 classes if it is for ImageNet, else 10.

    >>> published_spec("121").title, published_spec("resnet50").num_classes
    ('DenseNet-BC (L=121, k=32)', 1000)

    Args:
        name: As for ``spec_from_name``; "121" is short for densenet121.

    Raises:
        ValueError: No network has this name; the nearest are named.
    """
    return spec_from_name(f"densenet{name}" if name in IMAGENET_VARIANTS else name)
