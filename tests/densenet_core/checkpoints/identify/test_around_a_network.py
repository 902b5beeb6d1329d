"""What surrounds a DenseNet in real state dicts: other heads, losses, metrics, wrappers, detectors."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from analysis import connection_weights
from densenet_core import CheckpointError, DenseNetSpec, checkpoint_from_state_dict
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from tests.conftest import trained_like

SPEC = DenseNetSpec((2, 2), 4, 8, num_classes=5)
WIDTH = 16  # feature maps that leave the last block
State = dict[str, Tensor]
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return trained_like(SPEC)


def renamed(state: State, *rules: tuple[str, str], prefix: str = "") -> State:
    found = {}
    for key, tensor in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        found[prefix + key] = tensor
    return found


def assert_same_network(state: State, model: torch.nn.Module) -> None:
    found = checkpoint_from_state_dict(state)
    assert found.spec == SPEC, found.spec
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)


LOSS = {"criterion.weight": torch.ones(5), "val.confmat": torch.zeros(5, 2, 2, dtype=torch.int64)}
AROUND: dict[str, Callable[[State], State]] = {
    "a head of its own, beside": lambda s: renamed(s, (r"^features", "backbone.features"), ("^classifier", "head")),
    "DataParallel around the features": lambda s: renamed(s, (r"^features\.", "features.module.")),
    "a loss and a metric, names unknown": lambda s: renamed(s, ("denseblock", "stack"), prefix="net.") | LOSS,
    "a loss and a metric, names known": lambda s: renamed(s, prefix="net.") | LOSS,
}


@pytest.mark.parametrize("what", AROUND)
def test_the_network_is_built(what: str, model: torch.nn.Module) -> None:
    assert_same_network(AROUND[what](model.state_dict()), model)


def test_weights_of_classes_are_not_assumed_away(model: torch.nn.Module) -> None:
    found = checkpoint_from_state_dict(renamed(model.state_dict(), prefix="net.") | LOSS)
    assert (found.assumed, set(found.ignored)) == ((), set(LOSS))


def numbered(state: State, relu: bool) -> State:
    """Every part of a Sequential with its number, as weiaicunzai's networks for CIFAR-100 have them."""
    places = {"norm1": 0, "conv1": 2, "norm2": 3, "conv2": 5, "norm": 0, "conv": 2 if relu else 1}
    names = renamed(state, (r"features\.(denseblock|transition)", r"parts.\1"))
    return {re.sub(r"(norm|conv)([12]?)(?=\.)", lambda m: str(places[m[0]]), k) if "parts" in k else k: t
            for k, t in names.items()}  # fmt: skip


def test_numbers_show_where_no_relu_is(model: torch.nn.Module) -> None:
    assert_same_network(numbered(model.state_dict(), relu=True), model)
    found = checkpoint_from_state_dict(numbered(model.state_dict(), relu=False))
    assert isinstance(found.spec, ConcatSpec)
    assert "no ReLU has a place between 'parts.transition1.0' and 'parts.transition1.1.weight'" in found.spec.why
    assert len(connection_weights(found)) == 12


def test_a_detector_has_no_column_that_reads_something_else(model: torch.nn.Module) -> None:
    """In torchvision's Faster R-CNN, fc7 reads as many values as densenet121 has feature maps, but of fc6."""
    body = {f"backbone.body.{key}": t for key, t in model.state_dict().items() if "classifier" not in key}
    heads = {"rpn.conv.weight": torch.ones(9, WIDTH, 3, 3), "roi.fc6.weight": torch.ones(WIDTH, 49 * WIDTH)}
    heads |= {"roi.fc7.weight": torch.ones(WIDTH, WIDTH), "roi.score.weight": torch.ones(2, WIDTH)}
    found = checkpoint_from_state_dict(body | heads)
    assert isinstance(found.spec, ConcatSpec)
    assert found.spec.why.startswith("the network continues with 'rpn.conv.weight'; the file has no classifier")
    assert {target.kind for target in found.spec.targets} == {"dense_layer", "transition"}
    assert set(heads) <= set(found.ignored)


def test_a_square_layer_is_the_first_of_an_mlp(model: torch.nn.Module) -> None:
    body = {f"backbone.{key}": t for key, t in model.state_dict().items() if "classifier" not in key}
    mlp = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 5))
    found = checkpoint_from_state_dict(body | {f"head.{key}": t for key, t in mlp.state_dict().items()})
    assert isinstance(found.spec, DenseNetSpec) and found.spec.head_widths == (WIDTH,)
    features: list[Tensor] = []
    hook = model.classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    with torch.inference_mode():
        model(IMAGES)
        torch.testing.assert_close(found.to_model()(IMAGES), mlp(features[0]), rtol=1e-4, atol=1e-5)
    hook.remove()


def test_a_slope_is_no_damaged_norm(model: torch.nn.Module) -> None:
    state = model.state_dict() | {"features.denseblock1.denselayer1.relu1.weight": torch.tensor([0.25])}
    found = checkpoint_from_state_dict(state)
    assert isinstance(found.spec, ConcatSpec) and "'features.denseblock1.denselayer1.relu1.weight'" in found.spec.why
    cut = {key: t for key, t in model.state_dict().items() if key != "features.denseblock1.denselayer1.norm1.bias"}
    with pytest.raises(CheckpointError, match=r"'features\.denseblock1\.denselayer1\.norm1' has no bias"):
        checkpoint_from_state_dict(cut)


NORMALIZATIONS = {"data_preprocessor.mean": "data_preprocessor.std", "normalize.mu": "normalize.sigma", "mean": "std"}


@pytest.mark.parametrize("mean", NORMALIZATIONS)
@pytest.mark.parametrize("layer", ["denseblock", "stack"])
def test_a_normalization_of_the_images_is_assumed_to_be_done(mean: str, layer: str, model: torch.nn.Module) -> None:
    names = mean, NORMALIZATIONS[mean]
    own = renamed(model.state_dict(), ("denseblock", layer), prefix="net.")
    state = {name: torch.full((3, 1, 1), 0.5) for name in names} | own
    assert_same_network(state, model)
    found = checkpoint_from_state_dict(state)
    assert {*found.ignored} == {*names} and not any("alone" in words for words in found.assumed)
    assert any(f"normalized beforehand, as {names[0]!r}, {names[1]!r} say" in words for words in found.assumed)


def test_a_network_of_many_bands_is_found_under_unknown_names() -> None:
    """Of hyperspectral images: the stem reads more than any layer of the first block."""
    model = trained_like(DenseNetSpec((2, 2), 4, 8, num_classes=5, in_channels=103))
    found = checkpoint_from_state_dict(renamed(model.state_dict(), ("denseblock", "stack")))
    assert found.spec == DenseNetSpec((2, 2), 4, 8, num_classes=5, in_channels=103)
    assert torch.equal(found.state_dict["features.conv0.weight"], model.state_dict()["features.conv0.weight"])


def test_a_tensor_of_no_module_is_named_as_in_the_file(model: torch.nn.Module) -> None:
    state = model.state_dict() | {"factor_of_all": torch.ones(4, 3, 3, 3)}
    with pytest.raises(CheckpointError, match=r"tensor 'factor_of_all' is unexpected"):
        checkpoint_from_state_dict(state | {"zzz.weight": torch.ones(4, 3, 3, 3)})


def test_a_mean_of_another_length_is_no_normalization(model: torch.nn.Module) -> None:
    state = {"mean": torch.ones(2), "std": torch.ones(2)} | renamed(model.state_dict(), prefix="net.")
    assert checkpoint_from_state_dict(state).assumed == (
        "the network under 'net.' alone, without 'mean', ... (2 in all)",
    )


def test_weights_that_lie_elsewhere_are_missed(model: torch.nn.Module) -> None:
    state = {k: torch.zeros(0) if t.is_floating_point() else t for k, t in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"'features.conv0.weight' holds no numbers .*DeepSpeed .* or FSDP"):
        checkpoint_from_state_dict(state)


def test_of_a_backbone_only_the_classifier_is_missed(model: torch.nn.Module) -> None:
    state = {k: t for k, t in model.state_dict().items() if not k.startswith("classifier")}
    found = checkpoint_from_state_dict(state)
    assert isinstance(found.spec, ConcatSpec) and found.spec.why == "the file has no classifier"
    assert found.caveats == ()
