"""Do two measures of feature reuse agree? Rank correlation, overlap of the strongest, and where they differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.reuse.scaling import check_measure

LEAST_CONNECTIONS = 3  # below, a rank correlation says nothing
KEYS = ["block", "source_layer", "target_layer", "target_kind"]


@dataclass(frozen=True)
class Agreement:
    """How far two measures order connections alike."""

    spearman: float  # rank correlation, -1..1; nan where one measure is the same for all
    low: float  # 95 % interval, by bootstrap over the connections
    high: float
    within_targets: float  # mean of the rank correlations within each target of three sources or more
    top: int  # k
    overlap: float  # share of the k largest by one measure that are among the k largest by the other, 0..1
    num_connections: int


def agreement(
    table: pd.DataFrame,
    first: str,
    second: str,
    kind: str | None = "dense_layer",
    top: int = 20,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """How far two measures of a network agree.

    Args:
        table: as ``measure_reuse`` gives it, with both measures.
        kind: connections to this kind of target alone (dense_layer, transition, classifier), or None for all. Weights
            of different kinds of targets do not compare: a classifier's are larger because it is another layer.
        top: k of the overlap; at most half of the connections are taken.
        resamples: of the bootstrap (percentiles 2.5 and 97.5).

    Raises:
        ValueError: a measure is not in the table, or there are fewer than three connections.
    """
    rows = _chosen(table, (first, second), kind)
    a, b = rows[first].to_numpy(float), rows[second].to_numpy(float)
    draws = np.random.default_rng(seed).integers(len(rows), size=(resamples, len(rows)))
    resampled = np.array([spearman(a[draw], b[draw]) for draw in draws])
    resampled = resampled[~np.isnan(resampled)]
    low, high = np.percentile(resampled, (2.5, 97.5)) if len(resampled) else (np.nan, np.nan)
    k = max(1, min(top, len(rows) // 2))
    return Agreement(
        spearman=spearman(a, b),
        low=float(low),
        high=float(high),
        within_targets=_within_targets(rows, first, second),
        top=k,
        overlap=len(set(_largest(a, k)) & set(_largest(b, k))) / k,
        num_connections=len(rows),
    )


def agreement_table(table: pd.DataFrame, measures: list[str], kind: str | None = "dense_layer") -> pd.DataFrame:
    """``agreement`` of every two of the measures: columns first, second, and those of ``Agreement``."""
    pairs = [(a, b) for i, a in enumerate(measures) for b in measures[i + 1 :]]
    return pd.DataFrame([{"first": a, "second": b, **vars(agreement(table, a, b, kind))} for a, b in pairs])


def disagreements(
    table: pd.DataFrame, first: str, second: str, kind: str | None = "dense_layer", most: int = 10
) -> pd.DataFrame:
    """The connections on which two measures differ most, by the difference of their ranks.

    Returns:
        Columns block, source_layer, target_layer, target_kind, the two measures, their ranks (0 = least, 1 = largest;
        ``rank_...``), and difference (the first's rank minus the second's), the largest differences first.
    """
    rows = _chosen(table, (first, second), kind)
    ranks = {name: (rows[name].rank() - 1) / (len(rows) - 1) for name in (first, second)}
    found = rows[[*KEYS, first, second]].assign(
        **{f"rank_{name}": rank for name, rank in ranks.items()}, difference=ranks[first] - ranks[second]
    )
    order = found["difference"].abs().sort_values(ascending=False, kind="stable").index
    return found.loc[order[:most]].reset_index(drop=True)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation, ties by their mean rank; nan where one side is the same everywhere."""
    ranks = [pd.Series(values).rank().to_numpy() for values in (a, b)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return float("nan")
    centred = [rank - rank.mean() for rank in ranks]
    return float(centred[0] @ centred[1] / np.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1])))


def _chosen(table: pd.DataFrame, measures: tuple[str, str], kind: str | None) -> pd.DataFrame:
    for measure in measures:
        check_measure(table, measure)
    rows = table if kind is None else table[table["target_kind"] == kind]
    if len(rows) < LEAST_CONNECTIONS:
        raise ValueError(f"kind {kind!r} has {len(rows)} connections here: {LEAST_CONNECTIONS} or more are needed")
    return rows


def _within_targets(rows: pd.DataFrame, first: str, second: str) -> float:
    targets = [own for _, own in rows.groupby(["block", "target_layer"]) if len(own) >= LEAST_CONNECTIONS]
    found = [spearman(own[first].to_numpy(float), own[second].to_numpy(float)) for own in targets]
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _largest(values: np.ndarray, k: int) -> list[int]:
    return np.argsort(-values, kind="stable")[:k].tolist()  # type: ignore[no-any-return]
