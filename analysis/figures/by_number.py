"""The paper's figures by their number, each with the table that it shows."""

from __future__ import annotations

from typing import Literal, get_args

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.efficiency.paper import data_set_figure, efficiency_figure
from analysis.results.efficiency import RESNET_KINDS
from analysis.results.results import tabulated_results

DENSENET_KINDS = ("DenseNet", "DenseNet-B", "DenseNet-C", "DenseNet-BC")
FIGURE_4_SOURCES = ("Huang et al. 2017, Table 2", "osmr/imgclsmob")
FIGURE_3_SOURCES = ("Huang et al. 2017, Table 3", "fb.resnet.torch, pretrained models")
Panel = Literal["left", "middle"]


def figure_3(with_resnet_18: bool = False) -> tuple[Figure, pd.DataFrame]:
    """Draw top-1 error on ImageNet against parameters and FLOPs, DenseNet-BC and ResNet, from published numbers.

    Args:
        with_resnet_18: add ResNet-18, which the paper's figure leaves out.

    Returns:
        The figure and its table: DenseNet-121 to 264, and ResNet-34, 50, 101 and 152 of fb.resnet.torch.
    """
    table = tabulated_results()
    table = table[table["source"].isin(FIGURE_3_SOURCES) & (table["error_kind"] == "top1_single_crop")]
    left_out = ["ResNet-200"] if with_resnet_18 else ["ResNet-18", "ResNet-200"]  # ResNet-200 is pre-activation
    table = table[~table["model"].isin(left_out)]
    return efficiency_figure(table), table


def figure_4(panel: Panel, results: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Draw test error against parameters, from measured runs, one panel per data set.

    The middle part of the figure has the published points of the data set beside the measured ones (the paper's
    Table 2, and osmr's networks, trained with one recipe). Those of C10+, the paper's own, are always there, in a panel
    of their own where the runs are of other data.

    Args:
        panel: left: the four kinds of DenseNet; middle: DenseNet-BC and ResNets.
        results: measured results, as returned by ``measured_results`` or ``shipped_results``.

    Returns:
        The figure and its table.

    Raises:
        ValueError: ``results`` have none of these networks.
    """
    if panel not in get_args(Panel):
        raise ValueError(f"panel {panel!r} of Figure 4 is unknown: choose left or middle")
    families = DENSENET_KINDS if panel == "left" else ("DenseNet-BC", *RESNET_KINDS)
    table = results[results["family"].isin(families)]
    if table.empty:
        raise ValueError(f"the results have no {', no '.join(families)}: train some, or leave the runs out")
    if panel == "middle":
        table = _add_published(table, families)
    is_published = table["origin"] == "published"
    order = table["family"].map({family: place for place, family in enumerate(families)}) + 100 * is_published
    table = table.assign(order=order).sort_values(["order", "params"], kind="stable").drop(columns="order")
    return data_set_figure(table), table


def _add_published(results: pd.DataFrame, families: tuple[str, ...]) -> pd.DataFrame:
    """Return the results, and published ones of the same data sets and of C10+."""
    table = tabulated_results()
    is_shown = table["family"].isin(families) & table["source"].isin(FIGURE_4_SOURCES) & (table["error_kind"] == "test")
    is_shown &= table["dataset"].isin({*results["dataset"], "C10+"})
    return pd.concat([results, table[is_shown]], ignore_index=True)
