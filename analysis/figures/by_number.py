"""The paper's figures by their number, each with the table that it shows."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.efficiency import efficiency_figure
from analysis.results.results import published_results

DENSENET_KINDS = ("DenseNet", "DenseNet-B", "DenseNet-C", "DenseNet-BC")
RESNET_KINDS = ("ResNet", "ResNet (pre-activation)")
FIGURE_3_SOURCES = ("Huang et al. 2017, Table 3", "fb.resnet.torch, pretrained models")
Panel = Literal["left", "middle"]


def figure_3(with_resnet_18: bool = False) -> tuple[Figure, pd.DataFrame]:
    """Draw top-1 error on ImageNet against parameters and FLOPs, DenseNet-BC and ResNet, from published numbers.

    Args:
        with_resnet_18: add ResNet-18, which the paper's figure leaves out.

    Returns:
        The figure and its table: DenseNet-121 to 264, and ResNet-34, 50, 101 and 152 of fb.resnet.torch.
    """
    table = published_results()
    table = table[table["source"].isin(FIGURE_3_SOURCES) & (table["error_kind"] == "top1_single_crop")]
    left_out = ["ResNet-200"] if with_resnet_18 else ["ResNet-18", "ResNet-200"]  # ResNet-200 is pre-activation
    table = table[~table["model"].isin(left_out)]
    return efficiency_figure(table), table


def figure_4(panel: Panel, results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Test error against parameters, from measured runs.

    Args:
        panel: left: the four kinds of DenseNet; middle: DenseNet-BC and ResNets.
        results: measured results of one data set, as ``measured_results`` or ``shipped_results`` give them.

    Raises:
        ValueError: ``results`` have none of these networks.
    """
    if panel not in ("left", "middle"):
        raise ValueError(f"panel {panel!r} of Figure 4 is none of left, middle")
    families = DENSENET_KINDS if panel == "left" else ("DenseNet-BC", *RESNET_KINDS)
    table = results[results["family"].isin(families)]
    if table.empty:
        raise ValueError(f"the results have no {', no '.join(families)}: train some, or leave the runs out")
    order = table["family"].map({family: place for place, family in enumerate(families)})
    table = table.assign(order=order).sort_values(["order", "params"], kind="stable").drop(columns="order")
    return efficiency_figure(table, costs=("params",), log=True, label_points=False), table
