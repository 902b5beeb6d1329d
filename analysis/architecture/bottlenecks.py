"""One layer in four designs, on the same input: DenseNet's and ResNet's, with and without a bottleneck."""

from __future__ import annotations

import pandas as pd

from analysis.architecture.cost import count_cost
from densenet_core import DenseNetSpec, ResNetSpec
from densenet_core.networks.resnet_layers import EXPANSION
from densenet_core.networks.spec import Spec

DESIGNS = ("DenseNet", "DenseNet-B", "ResNet, basic", "ResNet, bottleneck")


def design_costs(in_maps: int = 256, growth_rate: int = 32, bn_size: int = 4, size: int = 28) -> pd.DataFrame:
    """Return the cost of one layer that reads ``in_maps`` feature maps of ``size`` x ``size`` pixels.

    A DenseNet's layer (paper, section 3, "Bottleneck layers") adds ``growth_rate`` new maps to the old ones; a ResNet's
    block (He et al. 2016a, Figure 5) replaces the old maps by as many new ones.

    Returns:
        One row per layer with weights, in the order in which they run: columns design, layer (conv1, bn2, ...),
        out_maps, params, mult_adds.

    Raises:
        ValueError: ``in_maps`` is not a multiple of 4: ResNet's bottleneck is a quarter as wide.
    """
    expansion = EXPANSION["bottleneck"]
    if in_maps % expansion:
        raise ValueError(
            f"in_maps {in_maps} is not a multiple of {expansion}, the factor by which ResNet's bottleneck narrows"
        )
    # The second block of a stage has equal input and output sizes, so no projection.
    basic = ResNetSpec((2,), "basic", in_maps, preactivation=True)
    bottleneck = ResNetSpec((2,), "bottleneck", in_maps // expansion, preactivation=True)
    counted = (
        _costs(DenseNetSpec((1,), growth_rate, in_maps, bottleneck=False), "features.denseblock1.denselayer1.", size),
        _costs(DenseNetSpec((1,), growth_rate, in_maps, bn_size=bn_size), "features.denseblock1.denselayer1.", size),
        _costs(basic, "layer1.1.", size),
        _costs(bottleneck, "layer1.1.", size),
    )
    return pd.concat([rows.assign(design=design) for design, rows in zip(DESIGNS, counted, strict=True)])[
        ["design", "layer", "out_maps", "params", "mult_adds"]
    ].reset_index(drop=True)


def _costs(spec: Spec, prefix: str, size: int) -> pd.DataFrame:
    cost = count_cost(spec, size)
    rows = cost[cost["name"].str.startswith(prefix) & (cost["params"] > 0)]
    return rows.assign(
        layer=rows["name"].str.removeprefix(prefix).str.replace("norm", "bn"),
        out_maps=[shape[0] for shape in rows["output_shape"]],
    )
