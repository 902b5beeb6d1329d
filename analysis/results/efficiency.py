"""What networks pay for their error: Pareto fronts, and how much less one family needs for another's error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

COST_TITLES = {
    "params": "parameters",
    "mult_adds": "mult_adds",
    "activation_bytes": "activation memory in training",
    "images_per_s": "images per second",
}
MORE_IS_BETTER = ("images_per_s",)


def pareto_front(results: pd.DataFrame, cost: str = "params") -> pd.Series:
    """Whether no other row has an error as low at a cost as low; the same index as ``results``.

    Rows without this cost are on no front. Of rows equal in both, all or none are.
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
    """What a family needs for the error that one network of another has."""

    family: str
    reference: str
    error: float  # percent
    cost: str
    reference_cost: float
    needed: float | None  # None: the family's points do not reach to this error on both sides
    reason: str = ""

    @property
    def times_fewer(self) -> float | None:
        """The reference's cost over the family's: 3 means a third."""
        return None if self.needed is None else self.reference_cost / self.needed

    def __str__(self) -> str:
        times, error, cost = self.times_fewer, f"{self.error:.2f}", COST_TITLES[self.cost]
        if times is None:
            return f"At {self.reference}'s error of {error} %: {self.reason}"
        if times >= 1:
            return f"At {self.reference}'s error of {error} % {self.family} needs {times:.2g} times fewer {cost}"
        return f"At {self.reference}'s error of {error} % {self.family} needs {1 / times:.2g} times more {cost}"


def parity(results: pd.DataFrame, family: str, reference: pd.Series, cost: str = "params") -> Parity:
    """What ``family`` costs at the error of ``reference``, a row of a results table.

    Between the points of the family's Pareto front the logarithm of the cost is taken as linear in the error.
    Nothing is extrapolated: where the front does not reach the error, or even its smallest network is better, the
    answer says so.

    Args:
        results: rows of one data set and one kind of error, as ``published_results`` gives them.
        cost: params, mult_adds or activation_bytes.

    Raises:
        ValueError: ``cost`` is none of these, ``results`` mix data sets or kinds of error, or lack the family.
    """
    if cost not in COST_TITLES or cost in MORE_IS_BETTER:
        raise ValueError(f"cost {cost!r} is none of params, mult_adds, activation_bytes")
    for column in ("dataset", "error_kind"):
        found = sorted({*results[column], reference[column]})
        if len(found) > 1:
            raise ValueError(f"{column} must be one for all: the results have {', '.join(found)}")
    if pd.isna(reference[cost]):
        raise ValueError(f"{reference['model']} has no {cost}: take another network as the reference")
    own = results[(results["family"] == family) & results[cost].notna()]
    if own.empty:
        known = ", ".join(sorted(results["family"].unique()))
        raise ValueError(f"family {family!r} has no result with {cost} here: there are {known}")
    front = own[pareto_front(own, cost)].drop_duplicates(["error", cost]).sort_values("error")
    needed, reason = _interpolated(front, family, float(reference["error"]), cost)
    return Parity(
        family=family,
        reference=str(reference["model"]),
        error=float(reference["error"]),
        cost=cost,
        reference_cost=float(reference[cost]),
        needed=needed,
        reason=reason,
    )


def _interpolated(front: pd.DataFrame, family: str, error: float, cost: str) -> tuple[float | None, str]:
    best, least = front.iloc[0], front.iloc[-1]
    if error < best["error"]:
        return None, f"no {family} here reaches it (the best, {best['model']}, has {best['error']:.2f} %)"
    if error > least["error"]:
        what = f"{least['model']}, with {count(least[cost])} {COST_TITLES[cost]} and {least['error']:.2f} %"
        return None, f"even the smallest {family} here is better ({what}), so what it would need is not known"
    return float(np.exp(np.interp(error, front["error"], np.log(front[cost])))), ""


def count(value: float) -> str:
    """A count as papers write it: 7.0M, 4.29G, 880K."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= 0.9995 * size:  # 999,600 is 1M to three digits
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"
