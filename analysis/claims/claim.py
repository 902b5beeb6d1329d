"""The type of a claim: a statement, the statistic that tests it, its criterion, its control, and its verdict.

To add a claim, write a function that measures it and one ``Claim`` entry in the tuple of its kind: ``FIGURE_5``
(weights), ``ON_IMAGES`` (a network on data), or ``PUBLISHED`` (tables of results).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

import numpy as np
import pandas as pd

from analysis.words import Phrase

PAPER = "Huang et al. 2017"
UNDEFINED = Phrase("claim_reasons.undefined", "the statistic is not defined on this evidence")
COLUMNS = (
    "claim",  # its name, also the key of its words in the language files
    "statement",
    "paper",
    "section",
    "statistic",
    "value",
    "low",  # of the value's 95 % interval, or the bound where only a bound is known; nan without one
    "high",
    "untrained",  # mean of the statistic over untrained networks
    "untrained_low",  # the least of them
    "untrained_high",  # the greatest of them
    "num_untrained",
    "control",  # the network without what the claim is about: a ResNet, a plain network
    "control_value",
    "criterion",
    "verdict",
    "reason",  # why it can not be decided; else what the value was computed from
)
IN_WORDS = ("statement", "section", "statistic", "control", "criterion", "reason")  # columns of phrases
E = TypeVar("E")


class Verdict(StrEnum):
    """The outcome of a claim on one piece of evidence."""

    HOLDS = "holds"
    AS_UNTRAINED = "holds, as it does untrained"  # training did not bring it about
    FAILS = "does not hold"
    UNDECIDED = "undecided"  # measured, but the interval includes the criterion's bound
    NOT_DECIDABLE = "not decidable"  # the evidence lacks what the statistic needs


class NotMeasurable(Exception):
    """The evidence lacks what a statistic needs; the message says what."""


@dataclass(frozen=True)
class Measured:
    """A value of a statistic with its 95 % interval, or with bounds where only bounds are known."""

    value: float
    low: float | None = None
    high: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Criterion:
    """The range of values in which a claim holds."""

    at_least: float = -math.inf
    at_most: float = math.inf
    below_control: bool = False  # and the value is less than the control's

    def is_met(self, value: float, control: float = math.nan) -> bool:
        """Return whether a value, beside its control's, meets the criterion."""
        is_within = self.at_least <= value <= self.at_most
        return is_within and not (self.below_control and not value < control)

    def __str__(self) -> str:
        low, high = f"{self.at_least:.3g}", f"{self.at_most:.3g}"
        if high == "inf":
            bounds = Phrase("claim_criteria.at_least", "at least {low}", low=low)
        elif low == "-inf":
            bounds = Phrase("claim_criteria.at_most", "at most {high}", high=high)
        else:
            bounds = Phrase("claim_criteria.between", "from {low} to {high}", low=low, high=high)
        if not self.below_control:
            return bounds
        return Phrase("claim_criteria.below_control", "{bounds} and below the control", bounds=bounds)


@dataclass(frozen=True)
class Claim(Generic[E]):
    """One statement of a paper, in our words, and the test that it can fail; ``E`` is the evidence it is tested on."""

    name: str
    statement: str
    section: str
    statistic: str  # what the value is
    measure: Callable[[E], float | Measured]  # raises NotMeasurable
    criterion: Criterion | Callable[[E], Criterion]
    control: Callable[[E], tuple[str, float]] | None = None  # title and value of the network without it
    paper: str = PAPER

    @property
    def said_statement(self) -> Phrase:
        """The statement, by the claim's name."""
        return Phrase(f"claim_statements.{self.name}", self.statement)

    @property
    def said_statistic(self) -> Phrase:
        """The statistic, by the claim's name."""
        return Phrase(f"claim_statistics.{self.name}", self.statistic)


def check(
    claims: Iterable[Claim[E]], evidence: E, untrained: Sequence[E] = (), missing: str | None = None
) -> pd.DataFrame:
    """Test claims on one piece of evidence.

    Args:
        untrained: the same evidence from networks that were only initialized.
        missing: why the evidence can not be used; every verdict is then "not decidable".

    Returns:
        One row per claim with the columns ``COLUMNS``; ``verdict`` holds the words of a ``Verdict``.

    Example:
        >>> half = Claim("half", "It is half.", "1", "x", lambda x: x, Criterion(at_least=0.4, at_most=0.6))
        >>> check([half], 0.5, untrained=[0.0, 0.1])["verdict"].item()
        'holds'
    """
    rows = [_row(claim, evidence, untrained, missing) for claim in claims]
    kinds = dict.fromkeys(IN_WORDS, object)  # keeps phrases, which a column of plain strings does not
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=kinds.get(name)) for name in COLUMNS})


def _row(claim: Claim[E], evidence: E, untrained: Sequence[E], missing: str | None) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(COLUMNS, math.nan)
    row |= {"claim": claim.name, "num_untrained": 0, "control": "", "criterion": "", "reason": missing or ""}
    row |= {"statement": claim.said_statement, "statistic": claim.said_statistic}
    row |= {"paper": claim.paper, "section": claim.section}
    try:
        if missing is not None:
            raise NotMeasurable(missing)
        found = claim.measure(evidence)
        measured = found if isinstance(found, Measured) else Measured(found)
        if math.isnan(measured.value):
            raise NotMeasurable(UNDEFINED)
    except NotMeasurable as why:
        return row | {"verdict": str(Verdict.NOT_DECIDABLE), "reason": str(why)}
    criterion = claim.criterion if isinstance(claim.criterion, Criterion) else claim.criterion(evidence)
    control, control_value = claim.control(evidence) if claim.control else ("", math.nan)
    null = _values(claim, untrained)
    return row | {
        "value": measured.value,
        "low": math.nan if measured.low is None else measured.low,
        "high": math.nan if measured.high is None else measured.high,
        "control": control,
        "control_value": control_value,
        "criterion": str(criterion),
        "verdict": str(judge(measured, criterion, null, control_value)),
        "reason": measured.detail,
        **_summary(null),
    }


def judge(
    measured: Measured, criterion: Criterion, untrained: Sequence[float] = (), control: float = math.nan
) -> Verdict:
    """Return the verdict on a value: decided only where its whole interval lies on one side of the criterion."""
    ends = [measured.value, measured.low, measured.high]
    outcomes = {criterion.is_met(end, control) for end in ends if end is not None}
    if len(outcomes) > 1:
        return Verdict.UNDECIDED
    if outcomes == {False}:
        return Verdict.FAILS
    is_met_untrained = len(untrained) > 0 and criterion.is_met(float(np.mean(untrained)), control)
    return Verdict.AS_UNTRAINED if is_met_untrained else Verdict.HOLDS


def _values(claim: Claim[E], untrained: Sequence[E]) -> list[float]:
    values = []
    for evidence in untrained:
        try:
            found = claim.measure(evidence)
        except NotMeasurable:
            continue
        values.append(found.value if isinstance(found, Measured) else found)
    return [value for value in values if not math.isnan(value)]


def _summary(null: Sequence[float]) -> dict[str, object]:
    if not null:
        return {}
    return {
        "untrained": float(np.mean(null)),
        "untrained_low": min(null),
        "untrained_high": max(null),
        "num_untrained": len(null),
    }
