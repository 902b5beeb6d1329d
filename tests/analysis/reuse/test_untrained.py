from __future__ import annotations

import torch

from analysis.reuse.untrained import build_untrained
from tests.analysis.reuse.test_effects import SPECS, checkpoint_of, some_images


def test_the_seed_decides_the_weights_and_nothing_else_changes() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, again, other = (build_untrained(SPECS[0], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)  # the global random state
    assert first.architecture == SPECS[0]
    weights = [network.state_dict["classifier.weight"] for network in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_norms_get_the_statistics_of_the_images() -> None:
    images, spec = some_images(60), checkpoint_of(SPECS[0]).spec
    model, seen = build_untrained(spec, images).to_model().eval(), []
    model.features.norm5.register_forward_hook(lambda _, __, out: seen.append(out))  # type: ignore[union-attr]
    with torch.inference_mode():
        model(next(images.batches(60))[0])
    assert abs(float(seen[0].mean())) < 0.1
    assert abs(float(seen[0].std()) - 1) < 0.15
