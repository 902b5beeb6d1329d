from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.results.efficiency import count, pareto_front, parity


def results(rows: list[tuple[str, str, float, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["family", "model", "params", "error"])
    return table.assign(dataset="C10+", error_kind="test", mult_adds=table["params"], images_per_s=1 / table["params"])


FAMILY = [("A", "small", 1e6, 8.0), ("A", "middle", 4e6, 6.0), ("A", "bad", 8e6, 7.0), ("A", "large", 16e6, 5.0)]
OTHERS = [("B", "reference", 12e6, 7.0), ("B", "best", 90e6, 3.0), ("B", "worst", 2e6, 9.0)]


def dominated(table: pd.DataFrame, row: int) -> bool:
    """By the definition: somebody is no worse in both and better in one."""
    a = table.iloc[row]
    return any(
        b["params"] <= a["params"]
        and b["error"] <= a["error"]
        and (b["params"] < a["params"] or b["error"] < a["error"])
        for _, b in table.iterrows()
    )


@pytest.mark.slow
def test_the_pareto_front_is_its_definition() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        costs, errors = random.integers(1, 8, (2, 12))  # with ties
        table = results([("A", str(i), float(c), float(e)) for i, (c, e) in enumerate(zip(costs, errors, strict=True))])
        assert pareto_front(table).tolist() == [not dominated(table, row) for row in range(len(table))]


def test_more_images_per_second_are_better() -> None:
    table = results(FAMILY)
    assert pareto_front(table, "images_per_s").tolist() == pareto_front(table, "params").tolist()


def test_rows_without_the_cost_are_on_no_front() -> None:
    table = results(FAMILY).assign(params=[1e6, np.nan, 8e6, 16e6])
    assert pareto_front(table).tolist() == [True, False, True, True]


def test_parity_between_two_points_of_the_front_is_linear_in_the_logarithm() -> None:
    table = results(FAMILY + OTHERS)
    found = parity(table, "A", table[table["model"] == "reference"].iloc[0])
    assert found.needed == pytest.approx(math.sqrt(1e6 * 4e6))  # error 7 lies half-way between 8 and 6
    assert found.times_fewer == pytest.approx(6.0)
    assert str(found) == "At reference's error of 7.00 % A needs 6 times fewer parameters"


def test_parity_at_a_point_is_the_point() -> None:
    table = results([*FAMILY, ("B", "same", 2e6, 6.0)])
    found = parity(table, "A", table.iloc[-1])
    assert found.needed == pytest.approx(4e6)
    assert str(found).endswith("A needs 2 times more parameters")


@pytest.mark.parametrize(
    ("model", "words"), [("best", "no A here reaches it"), ("worst", "even the smallest A here is")]
)
def test_parity_never_extrapolates(model: str, words: str) -> None:
    table = results(FAMILY + OTHERS)
    found = parity(table, "A", table[table["model"] == model].iloc[0])
    assert found.needed is None
    assert found.times_fewer is None
    assert words in str(found)


def test_parity_refuses_what_can_not_be_compared() -> None:
    table = results(FAMILY + OTHERS)
    mixed = table.assign(dataset=["C10+"] * 4 + ["C100+"] * 3)
    with pytest.raises(ValueError, match=r"dataset must be one for all: the results have C10\+, C100\+"):
        parity(mixed, "A", table.iloc[4])
    with pytest.raises(ValueError, match="family 'C' has no result with params here: choose one of A, B"):
        parity(table, "C", table.iloc[4])
    with pytest.raises(ValueError, match="cost 'images_per_s' is unknown: choose params"):
        parity(table, "A", table.iloc[4], "images_per_s")


def test_where_the_family_does_not_reach_its_cost_has_a_bound() -> None:
    table = results(FAMILY + OTHERS)
    best, worst = (parity(table, "A", table[table["model"] == model].iloc[0]) for model in ("best", "worst"))
    assert best.bounds == (0, 90e6 / 16e6)  # it needs more than its best network
    assert str(best).endswith("at most 5.6 times fewer parameters")
    assert worst.bounds == (2e6 / 1e6, math.inf)  # less than its smallest
    assert str(worst).endswith("at least 2 times fewer parameters")
    known = parity(table, "A", table[table["model"] == "reference"].iloc[0])
    assert known.bounds == (known.times_fewer, known.times_fewer)


@pytest.mark.parametrize(
    ("value", "text"), [(7_978_856, "7.98M"), (880, "880"), (4.29e9, "4.29G"), (1500, "1.5K"), (1e6, "1M")]
)
def test_counts_are_written_as_in_papers(value: float, text: str) -> None:
    assert count(value) == text
