from __future__ import annotations

import math

import pandas as pd
import pytest

from analysis.claims.claim import COLUMNS, Claim, Criterion, Measured, NotMeasurable, Verdict, check, judge


def claim(criterion: Criterion, **options: object) -> Claim[float]:
    return Claim("half", "It is half.", "1", "x", measure, criterion, **options)  # type: ignore[arg-type]


def measure(x: float) -> float:
    if x < 0:
        raise NotMeasurable("x is negative")
    return x


@pytest.mark.parametrize(
    ("value", "untrained", "verdict"),
    [
        (0.5, [], Verdict.HOLDS),
        (0.5, [0.1, 0.2, 0.3], Verdict.HOLDS),
        (0.5, [0.1, 0.9], Verdict.AS_UNTRAINED),  # their mean meets it
        (0.3, [0.9], Verdict.FAILS),
        (0.7, [0.5], Verdict.FAILS),  # two-sided
        (Measured(0.5, 0.45, 0.55), [], Verdict.HOLDS),
        (Measured(0.5, 0.35, 0.55), [], Verdict.UNDECIDED),
        (Measured(0.5, 0.5, math.inf), [], Verdict.UNDECIDED),  # only a bound is known
        (Measured(0.3, 0.2, 0.35), [], Verdict.FAILS),
        (Measured(0.2, 0.1, 0.5), [], Verdict.UNDECIDED),
    ],
)
def test_verdicts(value: float | Measured, untrained: list[float], verdict: Verdict) -> None:
    measured = value if isinstance(value, Measured) else Measured(value)
    assert judge(measured, Criterion(at_least=0.4, at_most=0.6), untrained) is verdict


def test_a_value_must_be_below_its_control_where_the_criterion_says_so() -> None:
    criterion = Criterion(at_most=10, below_control=True)
    assert judge(Measured(3), criterion, control=4) is Verdict.HOLDS
    assert judge(Measured(3), criterion, control=3) is Verdict.FAILS
    assert judge(Measured(3), criterion, [3.9], control=4) is Verdict.AS_UNTRAINED
    assert str(criterion) == "at most 10 and below the control"


def test_a_table_of_claims_holds_values_controls_and_reasons() -> None:
    table = check([claim(Criterion(at_least=0.4), control=lambda x: ("twice", 2 * x))], 0.5, [0.1, 0.2, -1.0])
    assert tuple(table.columns) == COLUMNS
    (row,) = table.to_dict("records")
    assert (row["value"], row["verdict"], row["control"], row["control_value"]) == (0.5, "holds", "twice", 1.0)
    assert row["untrained"] == pytest.approx(0.15)  # the third can not be measured
    assert (row["untrained_low"], row["untrained_high"], row["num_untrained"]) == (0.1, 0.2, 2)
    assert math.isnan(row["low"])


def test_what_can_not_be_measured_is_not_decidable() -> None:
    (row,) = check([claim(Criterion(at_least=0.4))], -1.0).to_dict("records")
    assert (row["verdict"], row["reason"]) == ("not decidable", "x is negative")
    assert math.isnan(row["value"])
    missing = check([claim(Criterion(at_least=0.4))], 0.5, missing="no order")
    assert missing[["verdict", "reason"]].to_numpy().tolist() == [["not decidable", "no order"]]
    nan = check([claim(Criterion(at_least=0.4))], math.nan)
    assert nan["verdict"].item() == "not decidable"
    assert pd.api.types.is_float_dtype(nan["value"])


def test_a_criterion_may_depend_on_the_evidence() -> None:
    table = check([Claim("a", "A.", "1", "x", measure, lambda x: Criterion(at_least=x + 1))], 0.5)
    assert table[["verdict", "criterion"]].to_numpy().tolist() == [["does not hold", "at least 1.5"]]
