"""Do two measures of feature reuse order connections alike, beyond what structure and noise explain?

Three things make two measures look more or less alike than they are, and each is computed here:

- structure: ``agreement_table`` has the baselines (number of sources, channels, distance) as rows beside the measures,
  and every row with and without source 0, the block's input, the widest source
- noise: ablation is a mean over images; ``reliability`` is its agreement with itself over other images, and the
  correlation corrected for attenuation is what it would be without that noise (Spearman 1904)
- dependence: connections of one target share its weights, so intervals resample targets (or, wider, sources), not
  connections; where a measure is ablation, they resample its images too
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.reuse.baselines import BASELINES
from analysis.reuse.comparison.resampling import (
    Cluster,
    centered_interval,
    draw_clusters,
    over_images,
    tie_noise,
    without_noise,
)
from analysis.reuse.measures import CONNECTION, HALVES, MEASURES
from analysis.reuse.ranks import expected_overlap, spearman, weighted_spearman
from analysis.reuse.scaling import check_measure

MIN_CONNECTIONS = 3  # fewer have no rank correlation worth the name
WANTED_RELIABILITY = 0.9


@dataclass(frozen=True)
class Agreement:
    """The agreement of two measures on the order of connections."""

    spearman: float  # rank correlation, -1..1; nan where one measure is constant
    low: float  # 95 % interval, by bootstrap over targets, and over the images of ablation
    high: float
    low_by_source: float  # the same, over sources instead of targets
    high_by_source: float
    within_targets: float  # mean of the rank correlations within each target of three sources or more
    top: int  # k
    overlap: float  # share of the k largest by one measure that are among the k largest by the other, 0..1; of ties
    # at the k-th place, the mean over all choices
    num_connections: int
    reliability: float  # of ablation over images, 0..1; nan where neither measure is ablation
    corrected: float  # the rank correlation divided by the root of the reliability; noise can take it above 1


def agreement(
    table: pd.DataFrame,
    first: str,
    second: str,
    kind: str | None = "dense_layer",
    block_input: bool = True,
    top: int = 20,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Return how far two measures of a network agree.

    Args:
        table: as from ``measure_reuse``, with both measures.
        kind: connections to this kind of target alone (dense_layer, transition, classifier), or None for all. Weights
            of different kinds of targets do not compare: they are different layers.
        block_input: whether source 0, the block's input, is among the connections.
        top: k of the overlap; at most half of the connections are taken.
        resamples: of the bootstrap over targets, and of that over sources (95 %; ``centered_interval``).

    Raises:
        ValueError: a measure is not in the table, or there are fewer than three connections.

    >>> from analysis import connection_weights
    >>> from densenet_core import load_zoo
    >>> table = connection_weights(load_zoo("densenet-40-12-digits"))
    >>> agreement(table, "mean_abs_weight", "total_abs_weight").num_connections
    234
    """
    rows = choose_connections(table, (first, second), kind, block_input)
    a, b = tie_noise(rows, first), tie_noise(rows, second)
    correlation = spearman(a, b)
    drawn_a, drawn_b = (over_images(rows, name, resamples, seed) for name in (first, second))

    def interval(by: Cluster) -> tuple[float, float]:
        resampled = weighted_spearman(drawn_a, drawn_b, draw_clusters(rows, by, resamples, seed))
        low, high = np.clip(centered_interval(resampled, correlation), -1, 1)
        return float(low), float(high)

    by_target, by_source = interval("target_layer"), interval("source_layer")
    k = max(1, min(top, len(rows) // 2))
    reliable = reliability(rows) if "ablation" in (first, second) else float("nan")
    return Agreement(
        spearman=correlation,
        low=by_target[0],
        high=by_target[1],
        low_by_source=by_source[0],
        high_by_source=by_source[1],
        within_targets=within_targets(rows, a, b),
        top=k,
        overlap=expected_overlap(a, b, k),
        num_connections=len(rows),
        reliability=reliable,
        corrected=correlation / np.sqrt(reliable) if reliable > 0 else float("nan"),
    )


def agreement_table(
    table: pd.DataFrame,
    reference: str = "ablation",
    measures: Iterable[str] = tuple(MEASURES),
    kind: str | None = "dense_layer",
    resamples: int = 1000,
) -> pd.DataFrame:
    """Return the agreement of the measures, and of the structural baselines, with one measure.

    Returns:
        A row for each measure and baseline, with the block's input and, where enough connections are left, without:
        measure, baseline (bool), comparable (the widest group of connections whose values compare: target, kind or
        network), block_input (bool), and the fields of ``Agreement``. Measures that the table lacks are left out.
    """
    names = [name for name in measures if name in table and name != reference]
    with_baselines = table.assign(**{name: compute(table) for name, compute in BASELINES.items()})
    inner = (table["source_layer"] > 0) & ((table["target_kind"] == kind) if kind else True)
    enough_without = inner.sum() >= MIN_CONNECTIONS
    rows = []
    for name in [*names, *BASELINES]:
        about = {"measure": name, "baseline": name in BASELINES}
        about["comparable"] = MEASURES[name].comparable if name in MEASURES else "network"
        for block_input in (True, False) if enough_without else (True,):
            found = agreement(with_baselines, name, reference, kind, block_input, resamples=resamples)
            rows.append(about | {"block_input": block_input} | vars(found))
    return pd.DataFrame(rows)


def reliability(table: pd.DataFrame) -> float:
    """Return how far ablation orders connections as it would over other images of the same number, 0..1.

    The rank correlation r of both halves of the images, stepped up to all of them: 2r / (1 + r) (Spearman-Brown). nan
    where the table has no halves or a half is constant, and 0 where the halves do not agree.
    """
    if any(half not in table for half in HALVES):
        return float("nan")
    noise = MEASURES["ablation"].noise
    r = spearman(*(without_noise(table[half].to_numpy(float), noise) for half in HALVES))
    return 2 * max(r, 0.0) / (1 + max(r, 0.0)) if not np.isnan(r) else r


def images_needed(reliable: float, num_images: int, wanted: float = WANTED_RELIABILITY) -> float:
    """Return the number of images that gives the wanted reliability, where ``num_images`` give ``reliable``.

    >>> round(images_needed(0.8, 500))
    1125
    """
    if not 0 < reliable < 1:
        return float("nan") if np.isnan(reliable) else (float("inf") if reliable <= 0 else float(num_images))
    return num_images * wanted * (1 - reliable) / (reliable * (1 - wanted))


def describe_reliability(table: pd.DataFrame, kind: str | None = "dense_layer") -> str:
    """Return one sentence on how far ablation depends on its images; empty where the table has no ablation."""
    rows = table if kind is None else table[table["target_kind"] == kind]
    reliable, number = reliability(rows), int(table.attrs.get("num_images", 0))
    if "ablation" not in table:
        return ""
    if np.isnan(reliable):
        images = f" on {number} image{'s' if number > 1 else ''}" if number else ""
        return f"The reliability of ablation{images} is not known: it compares two halves of the images."
    found = f"Ablation on {number} images has a reliability of {reliable:.2f} (split-half, Spearman-Brown)"
    if reliable >= WANTED_RELIABILITY:
        return f"{found}."
    needed = images_needed(reliable, number)
    if np.isfinite(needed):
        return f"{found}, below {WANTED_RELIABILITY}: about {needed:,.0f} images would reach it."
    return f"{found}: its halves do not agree, so how many images would reach {WANTED_RELIABILITY} can not be told."


def disagreements(
    table: pd.DataFrame, first: str, second: str, kind: str | None = "dense_layer", most: int = 10
) -> pd.DataFrame:
    """Return the connections on which two measures differ most, by the difference of their ranks.

    Returns:
        Columns block, source_layer, target_layer, target_kind, the two measures, their ranks (0 = smallest, 1 =
        largest; ``rank_...``), and difference (the first's rank minus the second's), the largest differences first.

    Raises:
        ValueError: as ``agreement``, or both measures are the same.
    """
    if first == second:
        raise ValueError(f"first and second are both {first!r}: choose two measures")
    rows = choose_connections(table, (first, second), kind)
    ranks = {name: (pd.Series(tie_noise(rows, name)).rank() - 1) / (len(rows) - 1) for name in (first, second)}
    found = rows[[*CONNECTION, first, second]].assign(
        **{f"rank_{name}": rank.to_numpy() for name, rank in ranks.items()},
        difference=(ranks[first] - ranks[second]).to_numpy(),
    )
    order = found["difference"].abs().sort_values(ascending=False, kind="stable").index
    return found.loc[order[:most]].reset_index(drop=True)


def choose_connections(
    table: pd.DataFrame, measures: Iterable[str], kind: str | None, block_input: bool = True
) -> pd.DataFrame:
    """Return the connections to one kind of target, all for None; ``measures`` are checked.

    Raises:
        ValueError: a measure is not in the table, or there are fewer than three connections.
    """
    for measure in measures:
        check_measure(table, measure)
    rows = table if kind is None else table[table["target_kind"] == kind]
    rows = rows if block_input else rows[rows["source_layer"] > 0]
    if len(rows) < MIN_CONNECTIONS:
        raise ValueError(f"kind {kind!r} has {len(rows)} connections here: {MIN_CONNECTIONS} or more are needed")
    return rows


def within_targets(rows: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean of the rank correlations within each target that has three sources or more."""
    found = correlations_within(rows, a, b)
    known = found[~np.isnan(found)]
    return float(known.mean()) if len(known) else float("nan")


def correlations_within(rows: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the rank correlation within each target of three sources or more; nan where a side is constant."""
    targets = rows.groupby(["block", "target_layer"]).indices.values()
    return np.array([spearman(a[own], b[own]) for own in targets if len(own) >= MIN_CONNECTIONS])
