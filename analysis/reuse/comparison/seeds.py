"""Compare networks of one architecture and different seeds: mean, spread, and cells that differ by more than noise.

The null hypothesis is k independent untrained networks. The mean of abs(w) over N independent weights has the relative
standard deviation sqrt(π/2 - 1) / sqrt(N) for the normal distribution that convolutions are initialized from, and
sqrt(1/3) / sqrt(N) for the uniform one of the classifier. This is a cell's *noise*. Its *spread* is the standard
deviation of the logarithm of its value over the k trained networks. Under the null hypothesis, (k - 1) (spread /
noise)² follows χ² with k - 1 degrees of freedom. A cell differs if the procedure of Benjamini and Hochberg (1995) over
all cells rejects the hypothesis at a false discovery rate of 5 %.

The other question, whether the seeds share a pattern at all, is answered by rank correlations between pairs of
networks. Within targets, independent untrained networks have a correlation of 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.reuse.agreement import within_targets
from analysis.reuse.comparison.difference import check_same_cells
from analysis.reuse.connections import Network, connection_weights
from analysis.reuse.measures import CONNECTION, DEFAULT
from analysis.reuse.ranks import spearman
from analysis.reuse.scaling import Scaling, check_measure, scale_measure

FALSE_DISCOVERY_RATE = 0.05
NORMAL, UNIFORM = np.sqrt(np.pi / 2 - 1), np.sqrt(1 / 3)  # relative standard deviation of abs(w), a single weight
# The measures that are multiples of the mean of abs(w) in an untrained network, where every γ is 1.
MEANS_OF_WEIGHTS = (
    "mean_abs_weight",
    "l1_per_input_map",
    "total_abs_weight",
    "effective_weight",
    "total_effective_weight",
)
IN_RECORD = ("arch", "dataset", "train_images", "image_size", "epochs")  # what seeds of one experiment share


def compare_seeds(networks: Iterable[Network], measure: str = DEFAULT, scaling: Scaling | None = None) -> pd.DataFrame:
    """Return mean and spread of every cell over networks of one architecture, from their weights.

    >>> from analysis.reuse.untrained import build_untrained
    >>> from densenet_core import load_zoo
    >>> spec = load_zoo("densenet-40-12-digits").spec
    >>> found = compare_seeds(build_untrained(spec, seed=seed) for seed in range(3))
    >>> int(found["differs"].sum())  # they are the null hypothesis
    0

    Returns:
        As ``seed_statistics``.

    Raises:
        CheckpointError: a network concatenates nothing.
        ValueError: as ``seed_statistics``.
    """
    return seed_statistics([connection_weights(network) for network in networks], measure, scaling)


def seed_statistics(
    tables: Sequence[pd.DataFrame], measure: str = DEFAULT, scaling: Scaling | None = None
) -> pd.DataFrame:
    """Return mean and spread of every cell over the feature-reuse tables of several networks.

    Args:
        tables: as from ``connection_weights`` or ``measure_reuse``, one for each network.
        scaling: of each network by itself, for mean, std, low and high; the test uses raw values.

    Returns:
        A row for each connection: block, source_layer, target_layer, target_kind; mean, std (n - 1), low and high of
        the scaled values; spread, noise and p_value (see the module's docstring); differs. The last three are missing
        for a measure that is not a mean of abs(w), and in cells where a connection was cut. ``attrs`` has
        num_networks, num_tested, num_differing, false_discovery_rate, rank_correlation and within_targets (the mean
        over pairs of networks).

    Raises:
        ValueError: there are fewer than two networks, two are the same, or their blocks differ.
    """
    _check(tables, measure)
    shown = np.stack([scale_measure(table, measure, scaling).to_numpy() for table in tables])  # (k, cells)
    found = tables[0][CONNECTION].reset_index(drop=True)
    found = found.assign(mean=shown.mean(0), std=shown.std(0, ddof=1), low=shown.min(0), high=shown.max(0))
    raw = np.stack([table[measure].to_numpy(float) for table in tables])
    found = _test_cells(found, raw, _noise(tables[0], measure))
    pairs = list(combinations(raw, 2))
    found.attrs = {
        "num_networks": len(tables),
        "num_tested": int(found["p_value"].notna().sum()),
        "num_differing": int(found["differs"].sum()),
        "false_discovery_rate": FALSE_DISCOVERY_RATE,
        "rank_correlation": float(np.mean([spearman(a, b) for a, b in pairs])),
        "within_targets": float(pd.Series([within_targets(found, a, b) for a, b in pairs]).mean()),
    }
    return found


def describe_seeds(found: pd.DataFrame) -> str:
    """Return sentences that say what ``seed_statistics`` found, with its rule, n and null hypothesis."""
    about = found.attrs
    alike = (
        f"Rank correlation between the {about['num_networks']} networks, mean over pairs: "
        f"{about['rank_correlation']:.2f} over all cells, {about['within_targets']:.2f} within targets "
        "(untrained networks: 0)."
    )
    if not about["num_tested"]:
        return alike
    return (
        f"{alike}\n{about['num_differing']} of {about['num_tested']} cells differ between the networks by more than "
        "independent untrained networks do\n(χ² test of each cell's spread, Benjamini-Hochberg over all cells, false "
        f"discovery rate {about['false_discovery_rate']:.0%})."
    )


def differing_settings(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the recorded settings in which networks differ, besides their seed and name.

    >>> differing_settings([{"dataset": "C10", "seed": 0}, {"dataset": "C10+", "seed": 1}])
    ['dataset']
    """
    settings = [_settings(record) for record in records]
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if any(each.get(name) != settings[0].get(name) for each in settings)]


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    recipe = record.get("recipe")
    given = dict(recipe) if isinstance(recipe, Mapping) else {}
    known = {name: record[name] for name in IN_RECORD if name in record}
    return {name: value for name, value in (given | known).items() if name != "seed"}


def _check(tables: Sequence[pd.DataFrame], measure: str) -> None:
    if len(tables) < 2:
        raise ValueError(f"{len(tables)} network is given: give two or more seeds of one architecture")
    check_same_cells(tables)
    for table in tables:
        check_measure(table, measure)
    for (i, first), (j, second) in combinations(enumerate(tables, start=1), 2):
        if np.array_equal(first[measure], second[measure]):
            raise ValueError(f"networks {i} and {j} have the same weights: give networks of different seeds")


def _noise(table: pd.DataFrame, measure: str) -> np.ndarray:
    """Return each cell's relative standard deviation between untrained networks; nan where it is not known."""
    if measure not in MEANS_OF_WEIGHTS:
        return np.full(len(table), np.nan)
    num_weights = table["total_abs_weight"] / table["mean_abs_weight"]  # nan where the connection is cut
    one = np.where(table["target_kind"] == "classifier", UNIFORM, NORMAL)
    noise: np.ndarray = one / np.sqrt(num_weights.to_numpy(float))
    return noise


def _test_cells(found: pd.DataFrame, raw: np.ndarray, noise: np.ndarray) -> pd.DataFrame:
    """Return the table with spread, noise, p_value and differs; ``raw`` (k, cells)."""
    from scipy import stats

    with np.errstate(divide="ignore", invalid="ignore"):  # a cut connection has a value of 0
        spread = np.log(raw).std(0, ddof=1)
    p_value = stats.chi2.sf((len(raw) - 1) * (spread / noise) ** 2, len(raw) - 1)
    is_tested = ~np.isnan(p_value)
    differs = pd.array([pd.NA] * len(found), dtype="boolean")
    if is_tested.any():
        differs[is_tested] = stats.false_discovery_control(p_value[is_tested]) <= FALSE_DISCOVERY_RATE
    return found.assign(spread=spread, noise=noise, p_value=p_value, differs=differs)
