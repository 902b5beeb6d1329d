"""Whether class profiles repeat, on tables whose answer is planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.prediction.class_agreement import class_agreement, compare_profiles
from densenet_core import DataError
from tests.analysis.prediction.networks import DENSE, checkpoint_of
from tests.analysis.prediction.test_lens import some_images


def table(profiles: np.ndarray) -> pd.DataFrame:
    """A table of ``reuse_by_class`` with these effects: (connections, classes)."""
    target, number = np.indices(profiles.shape).reshape(2, -1)
    columns = {"block": 1, "source_layer": 0, "target_layer": target, "class": number, "num_images": 5}
    return pd.DataFrame(columns | {"ablation": profiles.ravel()})


def test_profiles_of_their_own_repeat() -> None:
    generator = np.random.default_rng(0)
    own, noise = generator.normal(size=(80, 6)), 0.3 * generator.normal(size=(2, 80, 6))
    found = compare_profiles(table(own + noise[0]), table(own + noise[1]))
    assert found.same_class > 0.85 > 0 > found.other_class and found.p_value < 0.01
    assert (found.num_images, found.num_classes, found.num_connections) == (60, 6, 80)


def test_what_all_classes_need_is_no_profile_of_their_own() -> None:
    generator = np.random.default_rng(0)
    common, noise = 5 * generator.normal(size=(80, 1)), generator.normal(size=(2, 80, 6))
    found = compare_profiles(table(common + noise[0]), table(common + noise[1]))
    assert found.raw_same > 0.9 and found.raw_other > 0.9
    assert abs(found.same_class) < 0.15 and found.p_value > 0.05


def test_halves_of_the_images_are_measured() -> None:
    found = class_agreement(checkpoint_of(DENSE["BC"]), some_images())
    assert found.num_images == 20 and -1 <= found.same_class <= 1
    with pytest.raises(DataError, match="use more images"):
        class_agreement(checkpoint_of(DENSE["BC"]), some_images(), 3)
