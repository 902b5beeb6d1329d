from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from analysis.architecture.cost import count_cost, total_cost
from analysis.architecture.latency import measure_latency
from densenet_core import Checkpoint, DenseNetSpec, ResNetSpec, load_checkpoint, save_checkpoint
from densenet_core.networks.build import build_model, create_model
from densenet_core.networks.names import spec_from_name
from densenet_core.networks.relatives.deeply_supervised import SupervisedScores, compute_loss
from densenet_core.networks.relatives.deeply_supervised_spec import DeeplySupervisedSpec
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train

BASES = {"densenet-bc-10-4": (14, 19), "resnet-8": (16, 32), "highway-7-4": (4, 8), "fractalnet-3-2-4": (4, 8)}


@pytest.mark.parametrize("base", BASES)
def test_companions_read_the_ends_of_all_blocks_but_the_last(base: str) -> None:
    model = create_model(f"dsn-{base}", num_classes=5)
    assert tuple(model.spec.hidden_ends.values()) == tuple(c.in_features for c in model.companions)
    seen = []
    for name in model.spec.hidden_ends:
        model.network.get_submodule(name).register_forward_hook(lambda _, __, out: seen.append(out))
    outputs = model.train()(torch.randn(4, 3, 16, 16))
    assert isinstance(outputs, SupervisedScores)
    assert tuple(maps.shape[1] for maps in seen) == tuple(model.spec.hidden_ends.values())
    for companion, maps, scores in zip(model.companions, seen, outputs.companions, strict=True):
        torch.testing.assert_close(scores, companion(maps.mean((2, 3))))
        assert scores.shape == outputs.scores.shape == (4, 5)


def test_at_test_time_it_is_the_network_itself_and_keeps_nothing() -> None:
    model = create_model("dsn-resnet-8").eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(model(x), model.network(x))
    assert model._hidden == []
    model.train()(x)
    assert model._hidden == []


def test_the_loss_by_hand_and_its_decay() -> None:
    torch.manual_seed(0)
    a, b, c, labels = *torch.randn(3, 6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    outputs = SupervisedScores(a, [b, c], 0.5)
    for done, weight in ((0.0, 0.5), (0.5, 0.25), (1.0, 0.0)):
        loss, scores = compute_loss(outputs, labels, done)
        by_hand = F.cross_entropy(a, labels) + weight * (F.cross_entropy(b, labels) + F.cross_entropy(c, labels))
        torch.testing.assert_close(loss, by_hand)
        assert torch.equal(scores, a)
    plain, _ = compute_loss(a, labels, 0.3, label_smoothing=0.1)
    torch.testing.assert_close(plain, F.cross_entropy(a, labels, label_smoothing=0.1))


@pytest.mark.slow
def test_training_uses_the_companions(tmp_path: Path) -> None:
    """Companions get gradients: their weights move; of a network that train() did not ask for them they would not."""
    config = TrainingConfig("dsn-resnet-8", "digits", "a", epochs=1, runs_dir=str(tmp_path), weight_decay=0.0)
    folder = train(config, show_progress=False)
    torch.manual_seed(config.seed)
    start = create_model("dsn-resnet-8", in_channels=1).state_dict()
    end = load_checkpoint(folder).state_dict
    assert all((end[f"companions.{i}.weight"] - start[f"companions.{i}.weight"]).abs().max() > 0.01 for i in (0, 1))


def test_the_cost_is_that_of_the_network_and_the_companions_weights() -> None:
    model = create_model("dsn-densenet-40-12")
    total, own = total_cost(count_cost(model)), total_cost(count_cost(model.spec.base))
    companions = sum((maps + 1) * 10 for maps in (160, 304))
    assert sum(p.numel() for p in model.parameters()) == total["params"] == own["params"] + companions
    assert total["mult_adds"] == own["mult_adds"]


def test_its_time_can_be_measured() -> None:
    spec = spec_from_name("dsn-resnet-8")
    assert measure_latency({"a": spec}, 16, repeats=1)["step_ms"].iloc[0] > 0


@pytest.mark.parametrize("base", BASES)
def test_a_saved_spec_loads_unchanged(base: str, tmp_path: Path) -> None:
    spec = replace(spec_from_name(f"dsn-{base}"), companion_weight=0.7)
    model = build_model(spec).eval()
    save_checkpoint(Checkpoint(spec, model.state_dict(), {"seed": 1}), tmp_path / "net.safetensors")
    loaded = load_checkpoint(tmp_path / "net.safetensors")
    assert (loaded.spec, loaded.record) == (spec, {"seed": 1})
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(loaded.to_model()(x), model(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: create_model("dsn-dsn-resnet-8"),
            "base is a DeeplySupervisedSpec: pass the spec of a network without",
        ),
        (lambda: DeeplySupervisedSpec(DenseNetSpec((2,), 2, 4)), "has a single block"),
        (lambda: DeeplySupervisedSpec(ResNetSpec.cifar(8), 0), "companion_weight 0 must be above 0"),
        (lambda: create_model("dsn-resnet-9"), "depth 9 is not 6"),
        (lambda: create_model("dsn-densenet-10-4", memory_efficient=True), "supported for DenseNets, and Deeply"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.slow
def test_it_learns_digits(learns_digits: Callable[..., Path]) -> None:
    found = load_checkpoint(learns_digits("dsn-densenet-10-6"))
    assert found.spec == spec_from_name("dsn-densenet-10-6", in_channels=1)
    assert found.spec.title == "Deeply Supervised DenseNet (L=10, k=6)"
