"""Maps over images: signs have their colors, and places can be told apart where all have one sign."""

from __future__ import annotations

import pytest
import torch

from analysis.figures.prediction.style import overlay

GRAY = torch.full((1, 8, 8), 128, dtype=torch.uint8)


def test_blue_speaks_for_red_against_and_zero_is_the_image() -> None:
    found = overlay(GRAY, torch.tensor([[2.0, -2.0], [0.0, 0.0]]), min_side=8).astype(int)
    (red, _, blue), (other_red, _, other_blue) = found[0, 0], found[0, -1]
    assert blue > red + 50 and other_red > other_blue + 50
    assert abs(found[-1, 0] - 128).max() <= 1


@pytest.mark.parametrize("sign", [1, -1])
def test_small_differences_are_seen_in_a_map_of_one_sign(sign: int) -> None:
    own = sign * torch.tensor([[5.3, 5.5], [5.3, 5.3]])
    found = overlay(GRAY, own, min_side=8).astype(int)
    weak, strong = abs(found[-1, 0] - 128).max(), abs(found[0, -1] - 128).max()
    assert 10 < weak < strong / 2
    alike = overlay(GRAY, torch.full((2, 2), 3.0), min_side=8)
    assert (alike == alike[0, 0]).all()
    fixed = overlay(GRAY, own, limit=10.0, min_side=8).astype(int)  # compared with other maps: no stretching
    assert abs(fixed[-1, 0] - fixed[0, -1]).max() < 20
