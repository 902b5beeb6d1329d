from __future__ import annotations

import pytest
import torch

from analysis.architecture.comparison import compare, compare_stages, receptive_field, shortest_path
from analysis.architecture.latency import measure_latency
from analysis.architecture.memory import training_activation_bytes
from densenet_core import DenseNetSpec, ResNetSpec
from densenet_core.networks.build import build_model
from densenet_core.networks.names import spec_from_name


def test_quantities_are_the_networks_own() -> None:
    table = compare({"a": spec_from_name("densenet121", 1000), "b": spec_from_name("resnet50", 1000)})
    assert table["a"]["params"] == 7_978_856
    assert table["b"]["mult_adds"] == 4_089_184_256
    assert (table["a"]["depth"], table["b"]["depth"]) == (121, 50)
    assert (table["a"]["receptive_field"], table["b"]["receptive_field"]) == (2071, 427)  # as others computed them


@pytest.mark.parametrize(
    "spec", [DenseNetSpec((2, 1), 4, 8), ResNetSpec((1, 2)), ResNetSpec((2, 1), preactivation=True, block="bottleneck")]
)
def test_receptive_field_is_where_gradients_reach(spec: DenseNetSpec | ResNetSpec) -> None:
    """The input pixels that one value in front of the pooling depends on, counted by a gradient of positive weights."""
    model = build_model(spec).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "bias" not in name else 0.1)
    size = 65
    image = torch.ones(1, 3, size, size, requires_grad=True)
    maps: list[torch.Tensor] = []
    last = model.features if isinstance(spec, DenseNetSpec) else getattr(model, f"layer{len(spec.stage_config)}")
    last.register_forward_hook(lambda _, __, out: maps.append(out))
    model(image)
    middle = maps[0].shape[-1] // 2
    maps[0][0, :, middle, middle].sum().backward()
    reached = (image.grad[0].abs().sum(0) > 0).any(0)
    assert int(reached.sum()) == receptive_field(spec)


def test_shortest_path_by_hand() -> None:
    assert shortest_path(spec_from_name("densenet-40-12")) == 4  # stem, two transitions, classifier
    assert shortest_path(spec_from_name("resnet-110")) == 2  # identities all the way
    assert shortest_path(spec_from_name("resnet50")) == 2 + 4  # four projections
    assert shortest_path(spec_from_name("plain-20")) == 20


def test_stages_add_up_to_the_network() -> None:
    specs = {"a": spec_from_name("densenet-bc-40-12"), "b": spec_from_name("resnet-20")}
    stages = compare_stages(specs)
    totals = compare(specs)
    for name in specs:
        own = stages[stages["network"] == name]
        assert own["params"].sum() == totals[name]["params"]
        assert own["mult_adds"].sum() == totals[name]["mult_adds"]
    assert stages["stage"].tolist()[:6] == ["stem", "block1", "transition1", "block2", "transition2", "block3"]
    assert stages[stages["network"] == "b"]["resolution"].tolist() == [32, 32, 16, 8, 1]


def test_nothing_to_compare_and_an_input_too_small() -> None:
    with pytest.raises(ValueError, match="networks is empty"):
        compare({})
    with pytest.raises(ValueError, match="the smallest that works is 29"):
        compare({"a": spec_from_name("densenet121")}, 10)


@pytest.mark.slow
def test_measured_times_and_memory() -> None:
    specs = {"a": spec_from_name("densenet-10-4"), "b": spec_from_name("resnet-8")}
    table = measure_latency(specs, 16, batch_size=2, repeats=2)
    assert table["network"].tolist() == ["a", "b"]
    assert (table[["forward_ms", "step_ms", "images_per_s"]] > 0).all().all()
    for name, kept in zip(table["network"], table["kept_bytes"], strict=True):
        assert kept == training_activation_bytes(specs[name], 16, 2)
    assert "step_ms" not in measure_latency(specs, 16, repeats=1, training=False)
