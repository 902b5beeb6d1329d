"""The tables of "Over seeds" in docs/findings.md as Markdown, from what tools/findings/measure_seeds.py measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from analysis.reuse.agreement import agreement_table, within_targets
from analysis.reuse.baselines import BASELINE_TITLES
from analysis.reuse.comparison.resampling import tie_noise
from analysis.reuse.measures import MEASURE_TITLES
from analysis.reuse.ranks import spearman
from tools.findings.measured import MEASURED
from tools.findings.tables import controls, markdown, mean_and_spread


def seeds_agreement_rows() -> str:
    """Return how each measure agrees with ablation in each seed, and with itself in another seed."""
    tables = [table for _, table in pd.read_csv(MEASURED / "seeds_effects_digits.csv").groupby("seed")]
    found = pd.concat([agreement_table(table, resamples=2) for table in tables])
    own = [table[table["target_kind"] == "dense_layer"].reset_index(drop=True) for table in tables]
    titles = MEASURE_TITLES | BASELINE_TITLES
    rows = []
    for measure in ("ablation", *found["measure"].unique()):
        with_ablation = found[found["measure"] == measure]
        whole, inner = with_ablation[with_ablation["block_input"]], with_ablation[~with_ablation["block_input"]]
        cells = [mean_and_spread(values) for values in (whole.spearman, inner.spearman, whole.within_targets)]
        if measure == "ablation":
            cells = [f"reliability {mean_and_spread(found.loc[found['block_input'], 'reliability'])}", "", ""]
        rows.append([titles[measure], *cells, *between_seeds(own, measure)])
    header = ["measure", "with ablation", "without row 0", "within a target", "in two seeds", "within a target"]
    return markdown(header, rows)


def between_seeds(tables: Sequence[pd.DataFrame], measure: str) -> list[str]:
    """Return the rank correlation of a measure in two seeds, over the pairs: of all connections, within targets."""
    if measure not in tables[0]:
        return ["", ""]  # structure is the same in all seeds
    pairs = list(combinations([tie_noise(table, measure) for table in tables], 2))
    of_all = pd.Series([spearman(*pair) for pair in pairs])
    of_targets = pd.Series([within_targets(tables[0], *pair) for pair in pairs])
    return [mean_and_spread(of_all), mean_and_spread(of_targets)]


def seeds_claims_rows() -> str:
    """Return the statistic of each claim over the seeds, its controls, and how many seeds get which verdict."""
    found = pd.read_csv(MEASURED / "seeds_claims_digits.csv").dropna(subset="value")
    rows = [
        [
            own["statement"].iloc[0],
            own["criterion"].iloc[0],
            f"{own['value'].mean():.3g} ({own['value'].min():.3g} to {own['value'].max():.3g})",
            controls(own.iloc[0]),
            ", ".join(f"{verdict} ({number})" for verdict, number in own["verdict"].value_counts().items()),
        ]
        for _, own in found.groupby("claim", sort=False)
    ]
    return markdown(["claim", "criterion", "mean (range) over the seeds", "controls", "verdicts (seeds)"], rows)


def seeds_decision_rows() -> str:
    """Return the error, where the networks decide, and the last third's share in the logit, over the seeds."""
    found = pd.read_csv(MEASURED / "seeds_decisions_digits.csv")
    low, high = found["untrained_low"].min(), found["untrained_high"].max()
    rows = [
        [title, mean_and_spread(found[column]), f"{found[column].min():.2f} to {found[column].max():.2f}", untrained]
        for column, title, untrained in (
            ("error", "test error (%)", ""),
            ("median_depth", "median depth of decision", ""),
            (
                "last_third_share",
                "share of the logit from the last third",
                f"{found['untrained'].mean():.2f} ({low:.2f} to {high:.2f})",
            ),
        )
    ]
    return markdown(["", "mean ± SD", "range", "untrained, mean of five (range)"], rows)
