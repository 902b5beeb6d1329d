"""Rank correlations, of rows that a bootstrap takes several times each too, and overlaps of the largest."""

from __future__ import annotations

import numpy as np


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation (scipy's); nan where one side is constant."""
    from scipy import stats  # takes a quarter of a second, and most of what imports this module does not need it

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)


def weighted_spearman(a: np.ndarray, b: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the rank correlation of the rows, each taken ``times`` times: (resamples, rows) -> (resamples,).

    Args:
        a, b: (rows,), or (resamples, rows) where the values change too.
    """
    ranks = [_weighted_ranks(values, times) for values in (a, b)]
    total = times.sum(1, keepdims=True)
    x, y = (rank - (times * rank).sum(1, keepdims=True) / total for rank in ranks)
    squares = (times * x * x).sum(1) * (times * y * y).sum(1)
    products = (times * x * y).sum(1)
    found: np.ndarray = np.divide(products, np.sqrt(squares), out=np.full(len(times), np.nan), where=squares > 0)
    return found


def expected_overlap(a: np.ndarray, b: np.ndarray, k: int) -> float:
    """Return the share of the k largest of one side that are among the k largest of the other.

    Where values tie at the k-th place, each is among the k largest with the same probability, and the overlap is the
    mean over the choices; those of the two sides are independent.

    >>> expected_overlap(np.array([3, 2, 1]), np.array([5, 5, 5]), 1)  # each of b is its largest with probability 1/3
    0.3333333333333333
    """
    return float((_among_largest(a, k) * _among_largest(b, k)).sum() / k)


def _among_largest(values: np.ndarray, k: int) -> np.ndarray:
    """Return the probability with which each value is among the k largest."""
    bound = np.sort(values)[-k]
    above, tied = values > bound, values == bound
    among: np.ndarray = above + tied * (k - above.sum()) / tied.sum()
    return among


def _weighted_ranks(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the mean ranks of the rows, each taken ``times`` times; (resamples, rows)."""
    if values.ndim == 2:
        return _ranks_of_each(values, times)
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    sizes = np.add.reduceat(times[:, order], starts, axis=1)  # (resamples, groups of equal values)
    ranks: np.ndarray = (np.cumsum(sizes, axis=1) - sizes / 2)[:, group]
    return ranks


def _ranks_of_each(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the same where each resample has values of its own: (resamples, rows)."""
    order = np.argsort(values, axis=1)
    ordered, counts = (np.take_along_axis(own, order, axis=1) for own in (values, times))
    ends = np.cumsum(counts, axis=1)
    is_new = np.diff(ordered, axis=1, prepend=-np.inf) > 0  # a group of equal values begins
    place = np.arange(values.shape[1])
    first = np.maximum.accumulate(np.where(is_new, place, 0), axis=1)
    is_end = np.roll(is_new, -1, axis=1)
    is_end[:, -1] = True
    last = np.minimum.accumulate(np.where(is_end, place, place[-1])[:, ::-1], axis=1)[:, ::-1]
    middle = (np.take_along_axis(ends - counts, first, axis=1) + np.take_along_axis(ends, last, axis=1)) / 2
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, middle, axis=1)
    return ranks
