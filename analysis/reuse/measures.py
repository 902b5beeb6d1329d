"""The measures of feature reuse, in one table: what each is called, what it needs, and how it is computed.

A measure is a function of *statistics*: columns that one pass over the network collects for every connection.

- weights: ``num_weights`` (weights of the connection), ``sum_abs_weight`` (sum of abs(w)), ``sum_abs_effective`` (sum
  of abs(w γ)) and ``sum_abs_gamma`` (sum of abs(γ) over the source's channels), where γ is the factor of the target's
  own batch norm; the last two are nan if no norm comes directly before the target
- images: ``part_norm``, the L2 norm of what the source adds to the target's pre-activation, mean over the images
- gradients: ``slope``, the mean over the images of the sum of gradient x part
- cuts: ``loss_change``, the mean cross-entropy with the connection cut minus the whole network's

To add a measure, write its function, add it to ``MEASURES``, and add its Korean title to
``app/dashboard/languages/ko.toml``. The command line, the dashboard and the figures offer it from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from analysis.words import phrases

if TYPE_CHECKING:  # the command line reads the table at its start
    import pandas as pd

PLACE = ["block", "source_layer", "target_layer"]  # columns that name a connection, in every table of connections
CONNECTION = [*PLACE, "target_kind"]

Needs = Literal["weights", "images", "gradients", "cuts"]
Scope = Literal["target", "kind", "network"]
Replacement = Literal["zero", "mean"]  # what stands in for feature maps that are cut or not read
REPLACEMENTS: tuple[Replacement, ...] = get_args(Replacement)
Precision = Literal["fp32", "bf16"]  # of the convolutions of an ablation
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

STATISTICS: dict[Needs, tuple[str, ...]] = {
    "weights": ("num_weights", "sum_abs_weight", "sum_abs_effective", "sum_abs_gamma"),
    "images": ("part_norm",),
    "gradients": ("slope",),
    "cuts": ("loss_change",),
}


@dataclass(frozen=True)
class Measure:
    """One measure of feature reuse."""

    name: str  # its column in the feature-reuse table
    title: str
    unit: str
    needs: Needs
    compute: Callable[[pd.DataFrame], pd.Series]  # of the connections and the statistics of ``needs``
    signed: bool = False  # whether values below 0 have a meaning of their own
    comparable: Scope = "kind"  # the widest group of connections whose values can be compared
    noise: float = 0.0  # values below are rounding of float32: the order among them has no meaning

    @property
    def definition(self) -> str:
        """How it is computed, in one sentence."""
        return (self.compute.__doc__ or "").strip()

    @property
    def on_images(self) -> bool:
        """Whether it is measured on images."""
        return self.needs != "weights"


def mean_abs_weight(table: pd.DataFrame) -> pd.Series:
    """Mean of abs(w) over the source's channels, all output channels and all kernel positions."""
    return table["sum_abs_weight"] / table["num_weights"]


def l1_per_input_map(table: pd.DataFrame) -> pd.Series:
    """Sum of abs(w) over output channels and kernel positions, divided by the source's number of channels."""
    return table["sum_abs_weight"] / table["num_channels"]


def total_abs_weight(table: pd.DataFrame) -> pd.Series:
    """Sum of abs(w) over all weights of the connection."""
    return table["sum_abs_weight"]


def effective_weight(table: pd.DataFrame) -> pd.Series:
    """Mean of abs(w γ): the weight per standard deviation of the source, as the target's batch norm divides by it."""
    return table["sum_abs_effective"] / table["num_weights"]


def total_effective_weight(table: pd.DataFrame) -> pd.Series:
    """Sum of abs(w γ) over all weights of the connection."""
    return table["sum_abs_effective"]


def mean_abs_gamma(table: pd.DataFrame) -> pd.Series:
    """Mean of abs(γ) over the source's channels: what network slimming ranks channels by (Liu et al. 2017)."""
    return table["sum_abs_gamma"] / table["num_channels"]


def contribution(table: pd.DataFrame) -> pd.Series:
    """L2 norm of what the source adds to the target's pre-activation, as a share of the target's sum."""
    whole = table["part_norm"].groupby([table["block"], table["target_layer"]]).transform("sum")
    return (table["part_norm"] / whole).fillna(0.0)


def contribution_total(table: pd.DataFrame) -> pd.Series:
    """L2 norm of what the source adds to the target's pre-activation, mean over the images."""
    return table["part_norm"]


def taylor(table: pd.DataFrame) -> pd.Series:
    """abs(mean of gradient x part): the first-order change of the loss when the cut is made (Molchanov et al. 2017)."""
    return table["slope"].abs()


def ablation(table: pd.DataFrame) -> pd.Series:
    """Mean cross-entropy with the connection cut minus the whole network's."""
    return table["loss_change"]


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("mean_abs_weight", "mean |w| per channel", "weight", "weights", mean_abs_weight),
        Measure("l1_per_input_map", "L1 norm per input map", "weight", "weights", l1_per_input_map),
        Measure("total_abs_weight", "total |w|", "weight", "weights", total_abs_weight),
        Measure("effective_weight", "mean |w γ| per channel", "weight", "weights", effective_weight),
        Measure("total_effective_weight", "total |w γ|", "weight", "weights", total_effective_weight),
        Measure("mean_abs_gamma", "mean |γ| (network slimming)", "1", "weights", mean_abs_gamma),
        Measure("contribution", "contribution (share)", "1", "images", contribution, comparable="target"),
        Measure("contribution_total", "contribution (total)", "activation", "images", contribution_total),
        Measure("taylor", "Taylor |Σ g·a|", "nats", "gradients", taylor, comparable="network"),
        Measure(
            "ablation", "loss rise when cut", "nats", "cuts", ablation, signed=True, comparable="network", noise=1e-6
        ),
    )
}
HALVES = ("ablation_half_1", "ablation_half_2")  # ablation over every other image, and over the others
DEFAULT = "mean_abs_weight"  # the paper's Figure 5
MEASURE_TITLES = phrases("measures", {name: measure.title for name, measure in MEASURES.items()})
WEIGHT_MEASURES = tuple(name for name, measure in MEASURES.items() if not measure.on_images)
IMAGE_MEASURES = tuple(name for name, measure in MEASURES.items() if measure.on_images)


def measure_title(column: str) -> str:
    """Return a measure's title, or the column's own name where it is not a measure."""
    return MEASURE_TITLES.get(column, column)


def is_signed(column: str) -> bool:
    """Return whether a column is a measure whose values below 0 have a meaning."""
    return column in MEASURES and MEASURES[column].signed


def check_measures(names: Iterable[str]) -> None:
    """Raise ValueError if a name is not in ``MEASURES``."""
    for name in names:
        if name not in MEASURES:
            raise ValueError(f"measure {name!r} is unknown: choose from {', '.join(MEASURES)}")


def as_names(names: Iterable[str] | str) -> list[str]:
    """Return names as a list; one name alone is a list of one."""
    return [names] if isinstance(names, str) else list(names)


def needs_images(names: Iterable[str]) -> bool:
    """Return whether one of the measures is computed on images.

    Raises:
        ValueError: a measure is unknown.
    """
    names = list(names)
    check_measures(names)
    return any(MEASURES[name].on_images for name in names)


def needs_cuts(names: Iterable[str]) -> bool:
    """Return whether one of the measures cuts every connection, which takes long."""
    return any(MEASURES[name].needs == "cuts" for name in names)


def with_measures(table: pd.DataFrame, *needs: Needs) -> pd.DataFrame:
    """Return the table with all measures of these needs in place of their statistics."""
    found = {measure.name: measure.compute(table) for measure in MEASURES.values() if measure.needs in needs}
    return table.drop(columns=[name for need in needs for name in STATISTICS[need]]).assign(**found)
