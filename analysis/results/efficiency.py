"""Cost at equal error: Pareto fronts, and how much less one family needs for another's error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.words import Phrase, phrases

COST_TITLES = phrases(
    "costs",
    {
        "params": "parameters",
        "mult_adds": "mult_adds",
        "activation_bytes": "activation memory in training",
        "images_per_s": "images per second",
    },
)
MORE_IS_BETTER = ("images_per_s",)
RESNET_KINDS = ("ResNet", "ResNet (pre-activation)")  # families; the paper compares with both


def pareto_front(results: pd.DataFrame, cost: str = "params") -> pd.Series:
    """Return whether no other row has an error as low at a cost as low, with the index of ``results``.

    Rows without this cost are not on the front. Of rows equal in both, all or none are.

    >>> from analysis import shipped_results
    >>> results = shipped_results()
    >>> front = results[pareto_front(results, "params")].sort_values("params")
    >>> bool(front["error"].is_monotonic_decreasing)
    True
    """
    costs = results[cost] * (-1 if cost in MORE_IS_BETTER else 1)
    order = pd.DataFrame({"cost": costs, "error": results["error"]}).dropna().sort_values(["cost", "error"])
    least_before = order["error"].cummin().shift(fill_value=np.inf)
    is_best = order["error"] < least_before
    best = set(zip(order.loc[is_best, "cost"], order.loc[is_best, "error"], strict=True))
    on_front = [pair in best for pair in zip(costs, results["error"], strict=True)]
    return pd.Series(on_front, index=results.index)


@dataclass(frozen=True)
class Parity:
    """The cost that a family needs for the error of one network of another family."""

    family: str
    reference: str
    error: float  # percent
    cost: str
    reference_cost: float
    needed: float | None  # None: the family's points do not reach to this error on both sides
    reason: str = ""
    above: float = 0.0  # the cost that it needs is at least this,
    below: float = math.inf  # and at most this

    @property
    def times_fewer(self) -> float | None:
        """The reference's cost over the family's: 3 means a third; None where only bounds are known."""
        return None if self.needed is None else self.reference_cost / self.needed

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds of ``times_fewer``, which are equal where it is known."""
        if self.times_fewer is not None:
            return self.times_fewer, self.times_fewer
        return self.reference_cost / self.below, self.reference_cost / self.above if self.above else math.inf

    def __str__(self) -> str:
        least, most = self.bounds
        about = {"network": self.reference, "error": self.error, "family": self.family, "cost": COST_TITLES[self.cost]}
        if self.needed is None and math.isinf(most):
            return Phrase(
                "parity.at_least",
                "At {network}'s error of {error:.2f} %: {reason}: at least {times:.2g} times fewer {cost}",
                reason=self.reason,
                times=least,
                **about,
            )
        if self.needed is None:
            return Phrase(
                "parity.at_most",
                "At {network}'s error of {error:.2f} %: {reason}: at most {times:.2g} times fewer {cost}",
                reason=self.reason,
                times=most,
                **about,
            )
        if least >= 1:
            return Phrase(
                "parity.fewer",
                "At {network}'s error of {error:.2f} % {family} needs {times:.2g} times fewer {cost}",
                times=least,
                **about,
            )
        return Phrase(
            "parity.more",
            "At {network}'s error of {error:.2f} % {family} needs {times:.2g} times more {cost}",
            times=1 / least,
            **about,
        )


def parity(results: pd.DataFrame, family: str, reference: pd.Series, cost: str = "params") -> Parity:
    """Return the cost that ``family`` needs for the error of ``reference``, a row of a results table.

    Between the points of the family's Pareto front the logarithm of the cost is interpolated linearly in the error.
    Nothing is extrapolated: where the front does not reach the error, or even its smallest network is better, the
    answer is a bound.

    Args:
        results: rows of one data set and one kind of error, as returned by ``published_results``.
        cost: params, mult_adds or activation_bytes.

    Raises:
        ValueError: ``cost`` is unknown, or ``results`` mix data sets or kinds of error, or lack the family.

    Example:
        >>> from analysis import published_results
        >>> table = published_results()
        >>> table = table[(table["dataset"] == "C10+") & (table["source"] == "Huang et al. 2017, Table 2")]
        >>> found = parity(table, "DenseNet-BC", table[table["model"] == "ResNet-1001 (pre-activation)"].iloc[0])
        >>> round(found.bounds[0])  # times fewer parameters, at least: even the smallest DenseNet-BC is better
        13
    """
    own = _comparable_rows(results, family, reference, cost)
    front = own[pareto_front(own, cost)].drop_duplicates(["error", cost]).sort_values("error")
    error = float(reference["error"])
    about = (family, str(reference["model"]), error, cost, float(reference[cost]))
    best, worst = front.iloc[0], front.iloc[-1]
    if error < best["error"]:
        reason = Phrase(
            "parity.not_reached",
            "no {family} here reaches it (the best, {model}, has {error:.2f} %)",
            family=family,
            model=best["model"],
            error=best["error"],
        )
        return Parity(*about, None, reason, above=float(best[cost]))
    if error > worst["error"]:
        reason = Phrase(
            "parity.always_better",
            "even the smallest {family} here is better ({model}, with {number} {cost} and {error:.2f} %)",
            family=family,
            model=worst["model"],
            number=count(worst[cost]),
            cost=COST_TITLES[cost],
            error=worst["error"],
        )
        return Parity(*about, None, reason, below=float(worst[cost]))
    return Parity(*about, float(np.exp(np.interp(error, front["error"], np.log(front[cost])))))


def _comparable_rows(results: pd.DataFrame, family: str, reference: pd.Series, cost: str) -> pd.DataFrame:
    """Return the rows of a family that have the cost, all of the reference's data set and kind of error."""
    if cost not in COST_TITLES or cost in MORE_IS_BETTER:
        raise ValueError(f"cost {cost!r} is unknown: choose params, mult_adds or activation_bytes")
    for column in ("dataset", "error_kind"):
        found = sorted({*results[column], reference[column]})
        if len(found) > 1:
            raise ValueError(f"{column} must be one for all: the results have {', '.join(found)}")
    if pd.isna(reference[cost]):
        raise ValueError(f"{reference['model']} has no {cost}: take another network as the reference")
    own = results[(results["family"] == family) & results[cost].notna()]
    if own.empty:
        families = ", ".join(sorted(results["family"].unique()))
        raise ValueError(f"family {family!r} has no result with {cost} here: choose one of {families}")
    return own


def count(value: float) -> str:
    """Return a count as papers write it.

    Example:
        >>> count(4_290_000_000)
        '4.29G'
    """
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= 0.9995 * size:  # 999,600 is 1M to three digits
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"
