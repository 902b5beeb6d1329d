"""The statistics of the claims on published results: functions of a table of results."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.claims.claim import PAPER, Measured, NotMeasurable
from analysis.results.efficiency import count, pareto_front, parity
from analysis.words import Phrase

ON_PAR = 0.25  # percentage points that count as the same error
TABLE_2 = f"{PAPER}, Table 2"
TABLE_3 = f"{PAPER}, Table 3"
FB_RESNET = "fb.resnet.torch, pretrained models"
OSMR = "osmr/imgclsmob"
BC_250 = "DenseNet-BC (L=250, k=24)"
MANY_PARAMS = 30e6


def _rows(results: pd.DataFrame, dataset: str, *sources: str) -> pd.DataFrame:
    kind = "top1_single_crop" if dataset == "ImageNet" else "test"
    is_wanted = (results["dataset"] == dataset) & (results["error_kind"] == kind) & results["source"].isin(sources)
    return results[is_wanted]


def _row(table: pd.DataFrame, model: str) -> pd.Series:
    found = table[table["model"] == model]
    if len(found) != 1:
        raise NotMeasurable(
            Phrase(
                "published.no_row",
                "the results have {number} rows of {model}, one is needed",
                number=len(found),
                model=model,
            )
        )
    return found.iloc[0]


def _error(results: pd.DataFrame, dataset: str, model: str) -> float:
    return float(_row(_rows(results, dataset, TABLE_2), model)["error"])


def times_fewer(results: pd.DataFrame, dataset: str, ours: str, theirs: str) -> Measured:
    """Return how many times fewer parameters our network has; 0 where its error is more than ``ON_PAR`` higher."""
    table = _rows(results, dataset, TABLE_2, TABLE_3, FB_RESNET)
    a, b = _row(table, ours), _row(table, theirs)
    times = b["params"] / a["params"]
    numbers = Phrase(
        "published.times_fewer",
        "{ours:.2f} % against {theirs:.2f} %; {times:.2f} times fewer parameters",
        ours=a["error"],
        theirs=b["error"],
        times=times,
    )
    return Measured(float(times) if a["error"] <= b["error"] + ON_PAR else 0.0, detail=numbers)


def error_at_same_computation(results: pd.DataFrame) -> Measured:
    """Return the error of the DenseNet nearest to ResNet-50's mult_adds, minus ResNet-101's error."""
    table = _rows(results, "ImageNet", TABLE_3, FB_RESNET)
    resnet50, resnet101 = _row(table, "ResNet-50"), _row(table, "ResNet-101")
    densenets = table[table["family"] == "DenseNet-BC"]
    nearest = densenets.loc[(densenets["mult_adds"] / resnet50["mult_adds"]).sub(1).abs().idxmin()]
    numbers = Phrase(
        "published.same_computation",
        "{model} has {times:.2f} times ResNet-50's mult_adds: {ours:.2f} % against ResNet-101's {theirs:.2f} %",
        model=nearest["model"],
        times=nearest["mult_adds"] / resnet50["mult_adds"],
        ours=nearest["error"],
        theirs=resnet101["error"],
    )
    return Measured(float(nearest["error"] - resnet101["error"]), detail=numbers)


def times_fewer_at_error(results: pd.DataFrame, source: str, reference: str) -> Measured:
    table = _rows(results, "C10+", source)
    found = parity(table, "DenseNet-BC", _row(table, reference), "params")
    low, high = found.bounds
    return Measured(low if low > 0 else high, low, high, str(found))


def share_of_resnets_with_fewer(results: pd.DataFrame) -> Measured:
    """Return the share of pre-activation ResNets on their front at whose error DenseNet-BC needs more parameters.

    Where only a bound is known, it counts if it decides.
    """
    table = _rows(results, "C10+", OSMR)
    resnets = table[table["family"] == "ResNet (pre-activation)"]
    resnets = resnets[pareto_front(resnets)]
    found = [parity(table, "DenseNet-BC", row, "params") for _, row in resnets.iterrows()]
    times = {own.reference: own.bounds for own in found if own.bounds[0] >= 1 or own.bounds[1] < 1}
    if not times:
        raise NotMeasurable(
            Phrase("published.no_overlap", "no ResNet's error lies between the errors of two DenseNets")
        )
    fewer = [model for model, (_, most) in times.items() if most < 1]
    rest = ", ".join(
        f"{model} ({'≥ ' if least < most else ''}{least:.2f})" for model, (least, most) in times.items() if least >= 1
    )
    numbers = Phrase(
        "published.at_resnets",
        "at {number} of {all} ResNets DenseNet-BC needs more; times fewer at the others: {others}",
        number=len(fewer),
        all=len(times),
        others=rest,
    )
    return Measured(len(fewer) / len(times), detail=numbers)


def share_below_fractalnet(results: pd.DataFrame) -> Measured:
    fractalnet = "FractalNet with dropout and drop-path"
    a, b = ((_error(results, name, BC_250), _error(results, name, fractalnet)) for name in ("C10", "C100"))
    lower = [1 - ours / theirs for ours, theirs in (a, b)]
    numbers = Phrase(
        "published.below_fractalnet",
        "C10: {ours_10:.2f} % against {theirs_10:.2f} % ({lower_10:.1%} lower); "
        "C100: {ours_100:.2f} % against {theirs_100:.2f} % ({lower_100:.1%} lower)",
        **dict(zip(("ours_10", "theirs_10", "ours_100", "theirs_100"), (*a, *b), strict=True)),
        **dict(zip(("lower_10", "lower_100"), lower, strict=True)),
    )
    return Measured(min(lower), detail=numbers)


def change_with_capacity(results: pd.DataFrame, dataset: str, models: tuple[str, ...]) -> Measured:
    """Return the largest change of error (percentage points) from one network to the next larger."""
    table = _rows(results, dataset, TABLE_2)
    rows = [_row(table, model) for model in models]
    errors, sizes = " → ".join(f"{row['error']:.2f}" for row in rows), " → ".join(count(row["params"]) for row in rows)
    numbers = Phrase("published.with_size", "error {errors} %, parameters {sizes}", errors=errors, sizes=sizes)
    return Measured(float(np.diff([row["error"] for row in rows]).max()), detail=numbers)


def error_against_many_parameters(results: pd.DataFrame) -> Measured:
    """Return BC_250's error less the least of other methods' networks above ``MANY_PARAMS``, maximum over data sets."""
    found = []
    for dataset in ("C10", "C10+", "C100", "C100+"):
        table = _rows(results, dataset, TABLE_2)
        large = table[(table["params_printed"] > MANY_PARAMS) & ~table["family"].str.startswith("DenseNet")]
        ours, best = _row(table, BC_250)["error"], large.iloc[int(large["error"].argmin())]
        numbers = Phrase(
            "published.closest",
            "closest on {data}: {ours:.2f} % against {theirs:.2f} % of {model}",
            data=dataset,
            ours=ours,
            theirs=best["error"],
            model=best["model"],
        )
        found.append(Measured(float(ours - best["error"]), detail=numbers))
    return max(found, key=lambda own: own.value)


def error_of_best_variant(results: pd.DataFrame) -> Measured:
    table = _rows(results, "C10+", TABLE_2)
    best = table[table["family"] == "DenseNet-BC"]["error"].min()
    others = table[table["family"].isin(["DenseNet", "DenseNet-B", "DenseNet-C"])]["error"].min()
    numbers = Phrase("published.against", "{ours:.2f} % against {theirs:.2f} %", ours=best, theirs=others)
    return Measured(float(best - others), detail=numbers)


def loss_without_augmentation(results: pd.DataFrame) -> Measured:
    """Return the largest C10 / C10+ of DenseNets over the smallest of pre-activation ResNets."""
    errors = {name: _rows(results, name, TABLE_2).set_index("model") for name in ("C10", "C10+")}
    ratios = (errors["C10"]["error"] / errors["C10+"]["error"]).dropna()
    families = errors["C10"]["family"].reindex(ratios.index)
    ours = ratios[families.str.startswith("DenseNet")].max()
    theirs = ratios[families == "ResNet (pre-activation)"].min()
    numbers = Phrase(
        "published.without_augmentation",
        "at most {ours:.2f} times against at least {theirs:.2f} times; the DenseNets have dropout, the ResNets none",
        ours=ours,
        theirs=theirs,
    )
    return Measured(float(ours / theirs), detail=numbers)
