from __future__ import annotations

import io

import numpy as np
import pytest

from analysis.prediction.volumes import open_volume
from densenet_core import Checkpoint, DataError, DenseNet, DenseNetSpec

SPEC = DenseNetSpec((1, 1, 1, 1), 2, 4, in_channels=1, spatial_dims=3, stem="imagenet")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((16, 64, 64), r"shape \(1, 16, 64, 64\): input size 16 is too small"),
        ((256, 128, 128), "is not read"),
        ((64, 64), r"the network takes \(1, D, H, W\)"),
    ],
)
def test_volumes_that_the_network_can_not_run_on_are_refused(shape: tuple[int, ...], words: str) -> None:
    content = io.BytesIO()
    np.save(content, np.zeros(shape, dtype="uint8"))
    with pytest.raises(DataError, match=words):
        open_volume(content.getvalue(), Checkpoint(SPEC, DenseNet(SPEC).state_dict()))
