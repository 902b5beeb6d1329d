"""The tables of docs/findings.md as Markdown, from what tools/findings/measure_*.py measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.results.efficiency import count
from analysis.reuse.agreement import agreement_table
from analysis.reuse.baselines import BASELINE_TITLES, ORDER_TITLES
from analysis.reuse.comparison.agreements import AgreementDifference, compare_agreements
from analysis.reuse.measures import MEASURE_TITLES
from analysis.reuse.pruning import RANDOM
from tools.findings.measured import MEASURED, measured_decisions, measured_tables, network_title

SHOWN_KEEPS = (1.0, 0.8, 0.6, 0.4)
DIFFERENCES = (  # of rank correlations with ablation
    ("total_abs_weight", "mean_abs_weight"),
    ("total_abs_weight", "channel_share"),
    ("total_abs_weight", "inverse_sources"),
    ("total_effective_weight", "total_abs_weight"),
    ("taylor", "total_abs_weight"),
)
CLASS_ROWS = {  # of ``ClassAgreement``
    "same_class": "class-specific part: the same class on other images",
    "other_class": "class-specific part: another class (null)",
    "raw_same": "whole profile: the same class on other images",
    "raw_other": "whole profile: another class",
}


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table.

    >>> print(markdown(["a", "|b|"], [["1", "2"]]))
    | a | \\|b\\| |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def network_claims_table() -> str:
    """Return the paper's claims on the measured networks."""
    tables = {name: table.set_index("claim") for name, table in measured_tables("claims").items()}
    rows = [
        [row["statement"], row["statistic"], *(claim_cell(table.loc[claim]) for table in tables.values())]
        for claim, row in next(iter(tables.values())).iterrows()
    ]
    return markdown(["claim", "statistic", *map(network_title, tables)], rows)


def claim_cell(row: pd.Series) -> str:
    """Return verdict, value, criterion and controls of one claim on one network."""
    if pd.isna(row["value"]):
        return f"{row['verdict']}: {row['reason']}"
    parts = [f"**{row['verdict']}**: {value_and_bounds(row)}", str(row["criterion"]), controls(row)]
    return "; ".join(filter(None, parts))


def controls(row: pd.Series) -> str:
    """Return the same statistic of untrained networks (mean and range) and of the network that it is compared with."""
    parts = []
    if row["num_untrained"]:
        extremes = f"{row['untrained_low']:.3g} to {row['untrained_high']:.3g}"
        parts.append(f"untrained {row['untrained']:.3g} ({extremes})")
    if isinstance(row["control"], str):
        parts.append(f"{row['control']} {row['control_value']:.3g}")
    return "; ".join(parts)


def value_and_bounds(row: pd.Series) -> str:
    """Return a claim's value with its interval, or the bound where only a bound is known.

    >>> value_and_bounds(pd.Series({"value": 0.2, "low": 0.2, "high": math.inf}))
    'at least 0.2'
    """
    value, low, high = row["value"], row["low"], row["high"]
    if pd.isna(low) or low == high:
        return f"{value:.3g}"
    if math.isinf(high):
        return f"at least {low:.3g}"
    if low <= 0 and value == high:
        return f"at most {high:.3g}"
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"


def agreement_rows() -> str:
    """Return how each measure and structural baseline agrees with ablation on the measured networks."""
    tables = measured_tables("effects")
    found = [agreement_table(table).set_index(["measure", "block_input"]) for table in tables.values()]
    titles = MEASURE_TITLES | BASELINE_TITLES
    measures = found[0].index.unique("measure")
    rows = [[titles[measure], *(agreement_cell(own, measure) for own in found)] for measure in measures]
    reliable = [
        f"{own['reliability'].iloc[0]:.2f} ({table['num_images'].iloc[0]} images)"
        for own, table in zip(found, tables.values(), strict=True)
    ]
    rows.append(["*reliability of ablation*", *reliable])
    rows.append(["*within two standard errors of no effect*", *map(share_without_effect, tables.values())])
    return markdown(["measure", *map(network_title, tables)], rows)


def agreement_cell(rows: pd.DataFrame, measure: str) -> str:
    """Return the correlation with its interval, without row 0, and within a target, and the overlap of the largest."""
    whole, inner = rows.loc[(measure, True)], rows.loc[(measure, False)]
    cell = f"{whole.spearman:z.2f} {interval(whole.low, whole.high)}; {inner.spearman:z.2f}; "
    return cell + f"{whole.within_targets:z.2f}; {whole.overlap:.0%}"


def interval(low: float, high: float) -> str:
    """Return an interval of correlations or shares.

    >>> interval(-0.001, 0.25)
    '[0.00, 0.25]'
    """
    return f"[{low:z.2f}, {high:z.2f}]"


def difference_rows() -> str:
    """Return how much better one measure agrees with ablation than another, with intervals by target and by source."""
    tables, titles = measured_tables("effects"), MEASURE_TITLES | BASELINE_TITLES
    rows = []
    for first, other in DIFFERENCES:
        found = [compare_agreements(table, first, other) for table in tables.values()]
        rows.append([f"{titles[first]} less {titles[other]}", *map(difference_cell, found)])
    return markdown(["difference", *map(network_title, tables)], rows)


def difference_cell(own: AgreementDifference) -> str:
    """Return a difference of correlations with both intervals, and that within a target."""
    cell = f"{own.difference:z.2f} {interval(own.low, own.high)}, {interval(own.low_by_source, own.high_by_source)}"
    if not math.isnan(own.within_targets):
        cell += f"; {own.within_targets:z.2f} {interval(own.within_low, own.within_high)}"
    return cell


def share_without_effect(table: pd.DataFrame) -> str:
    """Return the share of the connections into dense layers whose effect is not told from none by the images."""
    own = table[table["target_kind"] == "dense_layer"]
    return f"{(own['ablation'].abs() <= 2 * own['ablation_standard_error']).mean():.0%}"


def pruning_rows() -> str:
    """Return the test error with ever fewer connections left, and the parameters that are left at the fewest."""
    found = {name: table[table["repair"] == "none"] for name, table in measured_tables("pruning").items()}
    titles = ORDER_TITLES | {"random": "random"}
    means = [table.groupby(["measure", "keep"])[["error", "params"]].mean() for table in found.values()]
    rows = [
        [titles[order], *(pruning_cell(own.loc[order]) for own in means)]
        for order in next(iter(found.values()))["measure"].unique()
    ]
    return markdown(["least first, by", *map(network_title, found)], rows)


def pruning_cell(curve: pd.DataFrame) -> str:
    """Return the errors of a curve, and the parameters that are left at its end; ``curve`` is by the share kept."""
    errors = " / ".join(f"{curve.loc[keep, 'error']:.1f}" for keep in SHOWN_KEEPS)
    return f"{errors}; {count(curve.loc[SHOWN_KEEPS[-1], 'params'])}"


def scratch_rows() -> str:
    """Return the errors of pruned networks, trained further and from new weights, over the seeds."""
    found = pd.read_csv(MEASURED / "scratch_digits.csv")
    ways = found.pivot_table("test_error", ["keep", "seed"], "start")
    random = found[found["start"] == RANDOM]
    own = (
        found[found["start"] != RANDOM]
        .groupby(["keep", "seed"])[["params", "whole_error", "pruned_error"]]
        .first()
        .join(ways)
    )
    own["difference"] = own["fine-tuned"] - own["from scratch"]
    shown = ["whole_error", "pruned_error", "fine-tuned", "from scratch", "difference"]
    rows = [
        [
            f"{keep:.0%}",
            f"{table['params'].mean():,.0f}",
            *(mean_and_spread(table[column]) for column in shown),
            random_cell(random[random["keep"] == keep]),
        ]
        for keep, table in sorted(own.groupby("keep"), reverse=True)
    ]
    header = ["kept", "parameters", "whole", "pruned", "trained further", "from new weights", "difference"]
    header.append("random connections from new weights (parameters)")
    return markdown(header, rows)


def random_cell(rows: pd.DataFrame) -> str:
    """Return the error of networks with random connections, and their mean number of parameters."""
    if rows.empty:
        return "not measured"
    return f"{mean_and_spread(rows['test_error'])} ({rows['params'].mean():,.0f})"


def mean_and_spread(values: pd.Series) -> str:
    """Return mean and standard deviation; nothing where no value is known.

    >>> mean_and_spread(pd.Series([1.0, 2.0, 3.0]))
    '2.00 ± 1.00'
    """
    return f"{values.mean():z.2f} ± {values.std():.2f}" if values.notna().any() else ""


def classes_rows() -> str:
    """Return how well the profiles of classes repeat on other images, trained and untrained."""
    found = {name: table.set_index("weights") for name, table in measured_tables("classes").items()}
    counts = [table.loc["trained", ["num_images", "num_classes", "num_connections"]] for table in found.values()]
    rows = [["images, classes, connections", *(", ".join(f"{number:.0f}" for number in own) for own in counts)]]
    for weights in ("trained", "untrained"):
        own = [table.loc[weights] for table in found.values()]
        for column, title in CLASS_ROWS.items():
            cells = [f"{table[column]:z.2f}" for table in own]
            rows.append([f"{title}, {weights}", *cells])
        title = f"p of the class-specific part (10,000 permutations), {weights}"
        rows.append([title, *(f"{table['p_value']:.1g}" for table in own)])
    return markdown(["", *map(network_title, found)], rows)


def decision_rows() -> str:
    """Return at which depth each measured network decides, beside its controls."""
    found = measured_decisions()
    columns = [decision_column(own["trained"], own["shuffled"], own["untrained"]) for own in found.values()]
    rows = [[title, *(column[title] for column in columns)] for title in columns[0]]
    return markdown(["", *map(network_title, found)], rows)


def decision_column(own: dict[str, Any], shuffled: dict[str, Any], untrained: dict[str, Any]) -> dict[str, str]:
    """Return the cells of one network by their titles."""
    median, low, high = (f"{depth:.0f}" for depth in (own["median_depth"], *own["depth_quartiles"]))
    return {
        "images": str(own["images"]),
        "sources of the last block": str(own["sources"]),
        "decided at: median (quartiles)": f"{median} ({low} to {high})",
        "decided at s = 0 (share of the most common class) (%)": at_first(own),
        "error at s = 0, a third, two thirds, the end (%)": at_depths(own),
        "the same with shuffled labels (%)": at_depths(shuffled),
        "the same of untrained networks, mean of five (%)": at_depths(untrained),
        "share of the logit from the last third [95 % over images]": last_third(own),
        "the same of untrained networks, mean of five (range)": last_third_untrained(untrained),
        "share of the last third in the feature maps": f"{own['last_third_of_channels']:.2f}",
    }


def at_depths(found: dict[str, Any]) -> str:
    """Return the error at the first source, a third and two thirds of the way, and the last."""
    errors = found["error_by_depth"]
    last = len(errors) - 1
    return ", ".join(f"{errors[round(last * share)]:.1f}" for share in (0, 1 / 3, 2 / 3, 1))


def last_third(found: dict[str, Any]) -> str:
    """Return the share of the logit that comes from the last third of the sources, with its interval."""
    return f"{found['last_third_share']:.2f} {interval(*found['last_third_interval'])}"


def last_third_untrained(found: dict[str, Any]) -> str:
    """Return the same of untrained networks, with the range over their seeds."""
    low, high = found["last_third_range"]
    return f"{found['last_third_share']:.2f} ({low:.2f} to {high:.2f})"


def at_first(found: dict[str, Any]) -> str:
    """Return the share of images that the first source decides, beside the share that one class for all would."""
    return f"{found['decided_by_depth'][0]:.1f} ({found['most_common_class']:.1f})"


def overfitting_rows() -> str:
    """Return the gaps of DenseNets and ResNets over seeds, by tools/findings/measure_overfitting.py."""
    header = [
        "DenseNet, dropout",
        "gap (nats)",
        "ResNet",
        "gap (nats)",
        "difference [95 %]",
        "claim",
        "test errors (%)",
    ]
    rows = [
        [
            f"{row.network}, {row.drop_rate:g}",
            f"{row.gap:.3f} ± {row.gap_std:.3f}",
            row.beside,
            f"{row.gap_beside:.3f} ± {row.gap_beside_std:.3f}",
            f"{row.difference:.3f} [{row.low:.3f}, {row.high:.3f}]",
            row.verdict,
            f"{row.error:.2f}, {row.error_beside:.2f}",
        ]
        for row in pd.read_csv(MEASURED / "overfitting_digits.csv").itertuples()
    ]
    return markdown(header, rows)
