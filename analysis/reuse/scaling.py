"""Scale a measure for drawing, and compute each source's share of its target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, get_args

from analysis.reuse.measures import CONNECTION, MEASURES, is_signed
from analysis.words import Phrase, phrases

if TYPE_CHECKING:  # the command line reads the options at its start
    import pandas as pd

Scaling = Literal[
    "kind_max", "block_max", "dense_max", "network_max", "target_max", "target_minmax", "rank", "signed_log", "none"
]
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)

# The paper does not say how Figure 5's colors are scaled to 0..1; per block by its maximum is how it reads.
SCALING_TITLES: dict[Scaling, Phrase] = phrases(
    "scalings",
    {
        "kind_max": "per block and kind by its maximum",
        "block_max": "per block by its maximum",
        "dense_max": "per block by dense layers' maximum",
        "network_max": "whole network by its maximum",
        "target_max": "per target by its maximum",
        "target_minmax": "per target from minimum to maximum",
        "rank": "rank in the whole network",
        "signed_log": "logarithm of the size",
        "none": "raw values",
    },
)


def default_scaling(measure: str) -> Scaling:
    """Return the scaling that shows a measure: kind_max for weights, signed_log for the heavy tails of effects."""
    return "signed_log" if measure in MEASURES and MEASURES[measure].on_images else "kind_max"


def scale_measure(table: pd.DataFrame, measure: str, scaling: Scaling | None = None) -> pd.Series:
    """Return a measure of the feature-reuse table, scaled for drawing; the same index as ``table``.

    - block_max, network_max, target_max: divided by the largest absolute value of the group
    - kind_max: divided by the largest absolute value of the block's dense layers, and the framed column (a transition
      or the classifier) by its own, so that neither takes the scale of the other
    - dense_max: divided by the largest of the block's dense layers; framed columns above it are cut off at 1
    - target_minmax: 0 at the target's minimum, 1 at its maximum
    - rank: of the absolute value among all connections, with its sign; the same for any heavy tail
    - signed_log: log(1 + abs(value) / median of abs) with its sign, divided by its maximum

    >>> from analysis import connection_weights
    >>> from densenet_core import load_zoo
    >>> table = connection_weights(load_zoo("densenet-40-12-digits"))
    >>> float(scale_measure(table, "mean_abs_weight", "block_max").max())
    1.0

    Args:
        scaling: by default ``default_scaling(measure)``.

    Returns:
        Values in 0..1, or in -1..1 for a signed measure; "none" returns the raw ones. A group of zeros (for
        target_minmax, of equal values) becomes 0.

    Raises:
        ValueError: ``scaling`` or ``measure`` is unknown; the message lists the known ones.
    """
    scaling = default_scaling(measure) if scaling is None else scaling
    if scaling not in SCALINGS:
        raise ValueError(f"scaling {scaling!r} is unknown: choose from {', '.join(SCALINGS)}")
    check_measure(table, measure)
    values = table[measure].astype(float)
    if scaling == "none":
        return values
    if scaling == "rank":
        return _signed_rank(values)
    if scaling == "signed_log":
        return _signed_log(values)
    if scaling == "target_minmax":
        groups = values.groupby([table["block"], table["target_layer"]])
        low = groups.transform("min")
        whole: pd.Series = ((values - low) / (groups.transform("max") - low)).fillna(0.0)
        return whole
    divided: pd.Series = (values / _largest(table, values.abs(), scaling)).fillna(0.0).clip(-1.0, 1.0)
    return divided


def color_range(values: pd.Series, measure: str, scaling: Scaling) -> tuple[float, float]:
    """Return the values at both ends of the colors; 0 is in the middle for a signed measure."""
    largest = float(values.abs().max()) or 1.0 if scaling == "none" else 1.0
    return (-largest, largest) if is_diverging(measure, scaling) else (0.0, largest)


def is_diverging(measure: str, scaling: Scaling) -> bool:
    """Return whether the colors run from below 0 to above it."""
    return is_signed(measure) and scaling != "target_minmax"


def _largest(table: pd.DataFrame, sizes: pd.Series, scaling: Scaling) -> pd.Series:
    """Return what each value is divided by."""
    if scaling == "network_max":
        largest: pd.Series = sizes * 0 + sizes.max()
        return largest
    if scaling == "target_max":
        return sizes.groupby([table["block"], table["target_layer"]]).transform("max")
    if scaling == "kind_max":
        return sizes.groupby([table["block"], table["target_kind"]]).transform("max")
    if scaling == "dense_max":
        dense = sizes.where(table["target_kind"] == "dense_layer")
        sizes = dense.where(dense.groupby(table["block"]).transform("count") > 0, sizes)  # blocks without dense layers
    return sizes.groupby(table["block"]).transform("max")


def _signed_rank(values: pd.Series) -> pd.Series:
    import numpy as np

    ranks = values.abs().rank(method="average").where(values != 0, 0.0)
    signed: pd.Series = np.sign(values) * ranks / max(1.0, float(ranks.max()))
    return signed


def _signed_log(values: pd.Series) -> pd.Series:
    import numpy as np

    sizes = values.abs()
    if not (sizes > 0).any():
        return sizes
    logs = np.log1p(sizes / sizes[sizes > 0].median())
    signed: pd.Series = np.sign(values) * logs / logs.max()
    return signed


def target_share(table: pd.DataFrame) -> pd.Series:
    """Return each connection's share of the L1 norm of its target's weights: 0..1, adding up to 1 over a target.

    >>> from analysis import connection_weights
    >>> from densenet_core import load_zoo
    >>> table = connection_weights(load_zoo("densenet-40-12-digits"))
    >>> shares = target_share(table).groupby([table["block"], table["target_layer"]]).sum()
    >>> bool((abs(shares - 1) < 1e-9).all())
    True
    """
    check_table(table, ("l1_per_input_map", "num_channels"))
    l1 = table["l1_per_input_map"] * table["num_channels"]
    return (l1 / l1.groupby([table["block"], table["target_layer"]]).transform("sum")).fillna(0.0)


def check_measure(table: pd.DataFrame, measure: str) -> None:
    """Raise ValueError if ``table`` has no such measure; the message lists those it has."""
    check_table(table)
    known = [column for column in table.columns if column not in {*CONNECTION, "num_channels"}]
    if measure in MEASURES and measure not in known:
        raise ValueError(f"table has no column {measure!r}: measure_reuse(network, [{measure!r}], images) computes it")
    if measure not in known:
        raise ValueError(f"measure {measure!r} is unknown: choose from {', '.join(known)}")


def check_table(table: pd.DataFrame, columns: Iterable[str] = ()) -> None:
    """Raise ValueError unless ``table`` is a feature-reuse table that has connections and these ``columns``."""
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"table is a {type(table).__name__}: give the pandas DataFrame of connection_weights")
    if missing := [column for column in (*CONNECTION, *columns) if column not in table.columns]:
        raise ValueError(f"table lacks the column {missing[0]!r}: give a table of connection_weights or measure_reuse")
    if table.empty:
        raise ValueError("table has no rows: keep the connections of at least one target")
