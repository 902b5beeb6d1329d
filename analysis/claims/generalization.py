"""Overfitting: the gap between test and training loss, in evaluation mode, of two networks or of several seeds of each.

Two networks are compared on the same images, and the interval covers the choice of images. Several seeds of each are
compared by the gaps of their records, and the interval covers the choice of seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.claims.claim import NotMeasurable
from analysis.claims.losses import Losses, gap_difference, image_losses
from analysis.reuse.comparison.seeds import differing_settings
from analysis.words import Phrase
from densenet_core import Checkpoint
from densenet_core.data.images import Images

MIN_IMAGES = 30  # of each set: below, an interval says little
NO_RESNET = Phrase("claim_reasons.no_resnet", "no ResNet trained on the same data was given beside it")
FEW_IMAGES = Phrase(
    "claim_reasons.few_images", "it is measured on {number} or more training and as many test images", number=MIN_IMAGES
)
FROM_RECORDS = Phrase("claim_reasons.from_records", "from the records")
SAME_GAPS = Phrase(
    "claim_reasons.same_gaps", "the gaps of both sides are the same for every seed: are the runs copies?"
)


@dataclass(frozen=True)
class GapComparison:
    """The generalization gaps (nats) of two sides' runs, and the 95 % interval of the difference of their means."""

    ours: tuple[float, ...]  # one value per run
    theirs: tuple[float, ...]
    low: float
    high: float
    detail: str  # number of runs, spread, and what the interval covers

    @property
    def difference(self) -> float:
        """Mean of our gaps minus mean of theirs."""
        return float(np.mean(self.ours) - np.mean(self.theirs))


def welch_interval(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two means: Welch (1947), from two or more values on each side.

    >>> [round(end, 3) for end in welch_interval([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])]
    [-5.267, -0.733]
    """
    from scipy import stats

    our, their = (np.var(side, ddof=1) / len(side) for side in (ours, theirs))  # squared error of each mean
    freedom = (our + their) ** 2 / (our**2 / (len(ours) - 1) + their**2 / (len(theirs) - 1))
    half = stats.t.ppf(0.975, freedom) * math.sqrt(our + their)
    difference = np.mean(ours) - np.mean(theirs)
    return float(difference - half), float(difference + half)


def compare_gaps(
    ours: Sequence[Checkpoint], theirs: Sequence[Checkpoint], train: Images | None = None, test: Images | None = None
) -> GapComparison:
    """Compare how much two networks overfit, or several seeds of each.

    One run on each side: as ``gap_difference``, on the images. Two or more on each side: the gap of a run is
    ``test_loss - train_eval_loss`` of its record, or where a run records none, that of all runs on the images; the
    interval is ``welch_interval``.

    Args:
        train: training images without augmentation.
        test: test images of the same data set.

    Raises:
        NotMeasurable: a side has no runs, or one run beside several; the sides were trained on different data; the runs
            of a side differ in more than the seed; or neither records nor images give the gaps.
        DataError: the images do not fit a network.

    >>> from densenet_core.networks.names import published_spec
    >>> def run(arch, seed, gap):
    ...     return Checkpoint(published_spec(arch), {}, {"seed": seed, "test_loss": gap, "train_eval_loss": 0.0})
    >>> ours = [run("densenet-40-12", seed, gap) for seed, gap in enumerate((0.30, 0.31, 0.32))]
    >>> theirs = [run("resnet-20", seed, gap) for seed, gap in enumerate((0.40, 0.41, 0.42))]
    >>> found = compare_gaps(ours, theirs)
    >>> round(found.difference, 3), round(found.low, 3), round(found.high, 3)
    (-0.1, -0.123, -0.077)
    """
    if not theirs:
        raise NotMeasurable(NO_RESNET)
    datasets = [side[0].record.get("dataset") for side in (theirs, ours)]
    if datasets[0] != datasets[1]:
        raise NotMeasurable(
            Phrase(
                "claim_reasons.other_data",
                "the other was trained on {theirs}, this on {ours}",
                theirs=datasets[0],
                ours=datasets[1],
            )
        )
    for side in (ours, theirs):
        _check_seeds(side)
    if len(ours) == len(theirs) == 1:
        return _on_images(ours[0], theirs[0], train, test)
    if 1 in (len(ours), len(theirs)):
        raise NotMeasurable(
            Phrase(
                "claim_reasons.uneven_sides",
                "{ours} against {theirs} runs: give two or more of each, or one of each",
                ours=len(ours),
                theirs=len(theirs),
            )
        )
    return _over_seeds(ours, theirs, train, test)


def _check_seeds(side: Sequence[Checkpoint]) -> None:
    """Raise ``NotMeasurable`` with the names of the runs unless those of a side differ in their seed alone."""
    first, names = side[0], [_name(run) for run in side]
    differing = []
    for name, run in zip(names[1:], side[1:], strict=True):
        arch = ["arch"] if run.spec != first.spec else []
        if settings := dict.fromkeys(arch + differing_settings([first.record, run.record])):
            differing.append(f"{name} ({', '.join(settings)})")
    if differing:
        raise NotMeasurable(
            Phrase(
                "claim_reasons.more_than_seed",
                "more than the seed differs from {run} in {others}",
                run=names[0],
                others=", ".join(differing),
            )
        )
    seeds = [str(run.record.get("seed", "none recorded")) for run in side]
    if len(set(seeds)) < len(seeds):
        named = ", ".join(f"{name} ({seed})" for name, seed in zip(names, seeds, strict=True))
        raise NotMeasurable(
            Phrase("claim_reasons.same_seeds", "the runs of a side need a seed of their own each: {runs}", runs=named)
        )


def _on_images(our: Checkpoint, their: Checkpoint, train: Images | None, test: Images | None) -> GapComparison:
    train, test = _enough(train, test, FEW_IMAGES)
    ours, theirs = (Losses(image_losses(own, train), image_losses(own, test)) for own in (our, their))
    _, low, high = gap_difference(ours, theirs)
    detail = Phrase(
        "claim_reasons.images_used",
        "{train} training and {test} test images, one seed each",
        train=len(train),
        test=len(test),
    )
    return GapComparison((ours.gap,), (theirs.gap,), low, high, _with_other_settings(detail, our, their))


def _over_seeds(
    ours: Sequence[Checkpoint], theirs: Sequence[Checkpoint], train: Images | None, test: Images | None
) -> GapComparison:
    runs = [*ours, *theirs]
    gaps, source = [_recorded_gap(run) for run in runs], FROM_RECORDS
    if missing := [_name(run) for run, gap in zip(runs, gaps, strict=True) if math.isnan(gap)]:
        gaps, source = _measured_gaps(runs, train, test, missing)
    our_gaps, their_gaps = tuple(gaps[: len(ours)]), tuple(gaps[len(ours) :])
    if len(set(our_gaps)) == len(set(their_gaps)) == 1:
        raise NotMeasurable(SAME_GAPS)
    detail = Phrase(
        "claim_reasons.seeds_compared",
        "{ours} against {theirs} seeds, {source}: gap {our_gap} against {their_gap} (mean ± standard deviation); "
        "Welch's 95 % interval over seeds",
        ours=len(ours),
        theirs=len(theirs),
        source=source,
        our_gap=_spread(our_gaps),
        their_gap=_spread(their_gaps),
    )
    detail = _with_other_settings(detail, ours[0], theirs[0])
    return GapComparison(our_gaps, their_gaps, *welch_interval(our_gaps, their_gaps), detail)


def _measured_gaps(
    runs: Sequence[Checkpoint], train: Images | None, test: Images | None, missing: Sequence[str]
) -> tuple[list[float], Phrase]:
    """Return the gaps on images and the words for them, where the records of ``missing`` have no losses."""
    reason = Phrase(
        "claim_reasons.no_losses",
        "the records of {runs} have no finite test_loss and train_eval_loss: give {number} or more training and as "
        "many test images",
        runs=", ".join(missing),
        number=MIN_IMAGES,
    )
    train, test = _enough(train, test, reason)
    source = Phrase(
        "claim_reasons.on_images", "on {train} training and {test} test images", train=len(train), test=len(test)
    )
    return [Losses(image_losses(run, train), image_losses(run, test)).gap for run in runs], source


def _enough(train: Images | None, test: Images | None, reason: str) -> tuple[Images, Images]:
    if train is None or test is None or min(len(train), len(test)) < MIN_IMAGES:
        raise NotMeasurable(reason)
    return train, test


def _name(run: Checkpoint) -> str:
    return str(run.record.get("name") or run.spec.title)


def _recorded_gap(run: Checkpoint) -> float:
    """Return the gap (nats) of the record; nan where it has none."""
    test, train = (run.record.get(name) for name in ("test_loss", "train_eval_loss"))
    if not isinstance(test, int | float) or not isinstance(train, int | float):
        return math.nan
    return float(test - train) if math.isfinite(test - train) else math.nan


def _spread(gaps: Sequence[float]) -> str:
    each = ", ".join(f"{gap:.3g}" for gap in gaps)
    return f"{np.mean(gaps):.3g} ± {np.std(gaps, ddof=1):.2g} [{each}]"


def _with_other_settings(detail: Phrase, our: Checkpoint, their: Checkpoint) -> Phrase:
    """Return the detail with the settings, besides the architecture, in which the sides differ."""
    records = [our.record, their.record]
    rates = [float(record.get("recipe", {}).get("drop_rate", 0)) for record in records]
    if rates[0] != rates[1]:
        detail = Phrase(
            "claim_reasons.other_dropout",
            "{detail}; trained with dropout {ours:g} against {theirs:g}",
            detail=detail,
            ours=rates[0],
            theirs=rates[1],
        )
    others = [name for name in differing_settings(records) if name not in ("arch", "drop_rate")]
    if not others:
        return detail
    return Phrase(
        "claim_reasons.other_settings",
        "{detail}; the sides also differ in {settings}",
        detail=detail,
        settings=", ".join(others),
    )
