from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis.architecture.paths import layer_paths, path_counts
from analysis.claims.gradient_flow import (
    controls,
    flow_beside_controls,
    gradient_flow,
    gradient_ratios,
    paths_beside_controls,
    unevenness,
)
from analysis.claims.path_gradients import path_gradients
from densenet_core import DenseNetSpec, create_model
from densenet_core.networks.names import spec_from_name
from tests.analysis.reuse.test_effects import SPECS, checkpoint_of, some_images


def paths_by_search(spec: DenseNetSpec) -> list[int]:
    """The length of every path from the image to the scores, by choosing layers one by one."""
    length = 2 if spec.bottleneck else 1
    lengths = [1]  # the stem
    for block, num_layers in enumerate(spec.block_config, start=1):
        through = []
        for chosen in itertools.product((False, True), repeat=num_layers):
            layers = [0, *(i + 1 for i, is_on in enumerate(chosen) if is_on), num_layers + 1]
            hops = itertools.pairwise(layers)
            if all(source in spec.sources(block, target) for source, target in hops):
                through.append(length * (len(layers) - 2) + 1)  # its transition or the classifier
        lengths = [before + own for before in lengths for own in through]
    return sorted(lengths)


@pytest.mark.parametrize(
    "spec",
    [
        DenseNetSpec((3, 2), 4, 8),
        DenseNetSpec((2, 3, 2), 4, 8, bottleneck=False),
        DenseNetSpec((3, 2), 4, 8, cuts=((1, 0, 2), (1, 1, 3), (2, 0, 3))),
    ],
    ids=lambda spec: f"{spec.family} {len(spec.cuts)} cuts",
)
def test_paths_are_those_that_a_search_finds(spec: DenseNetSpec) -> None:
    counts = path_counts(spec)
    found = [length for length, number in counts.itertuples(index=False) for _ in range(number)]
    assert found == paths_by_search(spec)
    assert found[-1] == spec.depth  # from each layer to the next


def test_paths_of_networks_without_and_with_shortcuts() -> None:
    plain = path_counts(spec_from_name("plain-20"))
    assert plain.to_numpy().tolist() == [[20, 1]]
    residual = path_counts(spec_from_name("resnet-20"))  # nine blocks of two layers, each taken or not
    assert residual["num_paths"].tolist() == [math.comb(9, i) for i in range(10)]
    assert residual["length"].tolist() == [2 + 2 * i for i in range(10)]
    assert path_counts(spec_from_name("resnet50"))["length"].max() == 50
    deep = path_counts(spec_from_name("densenet-bc-250-24"))
    assert sum(deep["num_paths"]) == 2**123  # exactly: 41 layers in each of three blocks


def test_every_layer_of_a_dense_block_is_as_near_to_the_loss() -> None:
    table = layer_paths(DenseNetSpec((3, 2), 4, 8)).set_index("name")
    assert table["shortest"].tolist() == [2, 2, 2, 2, 1, 1, 1]  # stem, block 1, transition, block 2
    assert table["is_direct"].tolist() == [False] * 4 + [True] * 3
    assert table.loc["denseblock1.denselayer3", "num_paths"] == 4  # the transition, then a subset of two layers
    assert layer_paths(spec_from_name("plain-8"))["shortest"].tolist() == [7, 5, 3, 1]


def test_gradients_are_those_of_autograd_and_the_network_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    model = create_model("densenet-7-2")
    images, labels = torch.randn(6, 3, 16, 16), torch.arange(6)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.requires_grad_(False).eval()
    flow = gradient_flow({"a": model}, images, labels)
    assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(module.track_running_stats for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    model.requires_grad_(True).train()
    F.cross_entropy(model(images), labels).backward()
    for row in flow.itertuples():
        gradient = model.get_parameter(f"{row.name}.weight").grad
        assert gradient is not None
        assert row.weight_gradient == pytest.approx(gradient.norm().item(), rel=1e-4)
    assert flow["layer"].tolist() == list(range(1, 8))
    assert (flow["position"].iloc[0], flow["position"].iloc[-1]) == (0, 1)


def test_the_output_gradient_of_a_network_by_hand() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(2.0)
        model[1].weight.copy_(torch.tensor([[3.0], [0.0]]))
    flow = gradient_flow({"a": model}, torch.ones(1, 1), torch.tensor([1]))
    share = 1 / (1 + math.exp(-6))  # of the first class: the scores are 6 and 0
    assert flow["output_gradient"].tolist() == pytest.approx([3 * share, math.sqrt(2) * share])
    assert flow["weight_gradient"].tolist() == pytest.approx([3 * share, 2 * math.sqrt(2) * share])
    assert gradient_ratios(flow)["a"] == pytest.approx(3 / math.sqrt(2))


def test_exploding_is_as_uneven_as_vanishing() -> None:
    rows = [("vanishes", 0.0, 0.01), ("vanishes", 1.0, 1.0), ("explodes", 0.0, 100.0), ("explodes", 1.0, 1.0)]
    flow = pd.DataFrame(rows, columns=["network", "position", "output_gradient"])
    assert gradient_ratios(flow).tolist() == pytest.approx([0.01, 100])
    assert unevenness(flow).tolist() == pytest.approx([100, 100])


@pytest.mark.slow
def test_the_network_stands_beside_its_controls() -> None:
    network, images = checkpoint_of(SPECS[0]), some_images(20)
    flow, paths = flow_beside_controls(network, images, 8), paths_beside_controls(network, images, 2)
    title, depth = network.spec.title, 14  # the nearest depth 6n+2
    names = [f"{title}, this network", *(f"{n}, untrained" for n in (title, f"ResNet-{depth}", f"Plain-{depth}"))]
    assert list(dict.fromkeys(flow["network"])) == names
    assert paths.groupby("network")["share"].sum().tolist() == pytest.approx([1] * 4, abs=1e-4)
    plain = paths[(paths["network"] == names[3]) & (paths["length"] == depth)]
    assert plain["share"].item() == pytest.approx(1, abs=1e-4)


def test_the_controls_are_as_deep() -> None:
    found = controls(DenseNetSpec.cifar(40, 12, num_classes=7, in_channels=1))
    assert list(found) == ["ResNet-38", "Plain-38"]
    assert {(spec.num_classes, spec.in_channels) for spec in found.values()} == {(7, 1)}


def test_a_plain_network_is_the_resnet_without_its_shortcuts() -> None:
    torch.manual_seed(0)
    plain = create_model("plain-8").eval()
    residual = create_model("resnet-8").eval()
    residual.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 16, 16)
    expected = F.relu(residual.bn1(residual.conv1(x)))
    for stage in (residual.layer1, residual.layer2, residual.layer3):
        block = stage[0]
        expected = F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(expected))))))
    expected = residual.fc(expected.mean((2, 3)))
    assert torch.equal(plain(x), expected)
    assert not torch.allclose(plain(x), residual(x))
    with pytest.raises(ValueError, match=r"depth 21 is not 6\*n\+2"):
        create_model("plain-21")


@pytest.mark.parametrize("measure", [gradient_flow, path_gradients])
def test_a_frozen_batch_norm_stays_frozen(measure: Callable[..., pd.DataFrame]) -> None:
    model = create_model("densenet-7-2", in_channels=1).train()
    next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d)).eval()
    modes = [module.training for module in model.modules()]
    measure({"a": model}, torch.rand(2, 1, 8, 8), torch.tensor([0, 1]))
    assert [module.training for module in model.modules()] == modes
