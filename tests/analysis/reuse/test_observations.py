from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import connection_weights, figure5_observations
from analysis.reuse.observations import spread
from densenet_core import DenseNet, DenseNetSpec


def table_with(weight: object) -> pd.DataFrame:
    """A three-block table whose mean |w| is ``weight(row)``."""
    table = connection_weights(DenseNet(DenseNetSpec((6, 6, 6), 4, 8)))
    return table.assign(mean_abs_weight=[weight(row) for row in table.itertuples()])


def test_spread_is_1_for_equal_weights_and_one_nth_for_one() -> None:
    assert spread(np.ones(5)) == pytest.approx(1)
    assert spread(np.array([0, 0, 7.0, 0])) == pytest.approx(1 / 4)
    assert spread(np.array([0.5, 0.25, 0.25])) == pytest.approx(2**1.5 / 3)  # entropy 1.5 bits
    assert np.isnan(spread(np.zeros(3)))


def test_a_network_as_the_paper_describes_it_meets_all_four() -> None:
    def weight(row: object) -> float:
        if row.target_kind == "classifier":
            return 1.0 + row.source_layer
        return 0.5 if row.source_layer == 0 else 1.0

    seen = figure5_observations(table_with(weight))
    assert [o.holds for o in seen] == [True] * 4
    assert seen[2].value == 1.0
    # sources 0..6 weigh 1..7: last third (two of seven) against the five before
    assert seen[3].value == pytest.approx(((6 + 7) / 2) / 3)


def test_a_network_of_the_opposite_kind_meets_none() -> None:
    def weight(row: object) -> float:
        if row.target_kind == "classifier":
            return 10.0 - row.source_layer
        return 1.0 if row.source_layer == 0 else 1e-3

    seen = figure5_observations(table_with(weight))
    assert [o.holds for o in seen] == [False] * 4
    assert seen[2].value == 0.0


def test_only_the_transition_makes_the_second_fail() -> None:
    def weight(row: object) -> float:
        return 1e-4 if row.target_kind == "transition" and row.source_layer else 1.0

    assert [o.holds for o in figure5_observations(table_with(weight))][:2] == [True, False]


def test_one_block_has_no_transition_to_speak_of() -> None:
    seen = figure5_observations(connection_weights(DenseNet(DenseNetSpec((6,), 4, 8))))
    assert [o.holds for o in seen][1:3] == [None, None]
    assert seen[1].reason == "no transition reads a dense block"
