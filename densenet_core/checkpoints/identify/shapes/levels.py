"""What a search accepts beyond a plain DenseNet, level by level."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Allowed:
    """Deviations that a search accepts from a plain DenseNet with a linear classifier."""

    leftovers: bool = False  # 1x1 and depthwise convolutions without a place: gates, attention
    any_head: bool = False  # 1x1 convolutions as heads, or none
    growth: bool = False  # layers of a block that add different numbers of feature maps
    copies: bool = False  # transitions and heads that read several poolings of the feature maps
    mixed: bool = False  # bottlenecks in some layers only
    small_stem: bool = False  # a stem of 1x1
    no_stem: bool = False  # the input itself as the first source
    widening: bool = False  # transitions with more outputs than inputs
    up: bool = False  # a second half with skip connections, which only sends new feature maps up (Tiramisu)
    separable: bool = False  # layers that end in a depthwise and a 1x1 convolution
    depthwise: bool = False  # layers of a depthwise and two 1x1 convolutions, transitions of any kernel (RDNet)


_ODD = Allowed(any_head=True, growth=True, copies=True, no_stem=True, widening=True)
LEVELS: dict[str, Allowed] = {
    "a plain DenseNet": Allowed(),
    "with gates or attention": Allowed(leftovers=True),
    "with poolings side by side": Allowed(copies=True),
    "with another head or none": Allowed(any_head=True),
    "with gates, and another head or none": Allowed(any_head=True, leftovers=True),
    "with transitions that widen": Allowed(any_head=True, widening=True),
    "with gates, and transitions that widen": Allowed(leftovers=True, widening=True),
    "with a stem of 1x1": Allowed(any_head=True, small_stem=True),
    "with bottlenecks in some layers only": Allowed(any_head=True, mixed=True),
    "with uneven growth, copied maps or no stem": _ODD,
    "with transitions up": Allowed(any_head=True, up=True),
    "with uneven growth and gates": replace(_ODD, any_head=False, leftovers=True),
    "with separable layers": Allowed(any_head=True, separable=True),
    "with depthwise layers": replace(_ODD, any_head=False, leftovers=True, depthwise=True),
}
