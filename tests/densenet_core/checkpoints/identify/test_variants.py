"""DenseNets with other stems, transitions and classifiers, each against a module written by hand here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis import connection_weights, count_cost, total_cost
from analysis.prediction.predictor import as_predictor
from analysis.reuse.dissection import dissect
from app.cli.main import run
from app.text import network_facts
from densenet_core import (
    Checkpoint,
    CheckpointError,
    DenseNetSpec,
    checkpoint_from_state_dict,
    fuse,
    load_checkpoint,
    save_checkpoint,
)
from densenet_core.checkpoints.identify.identified_by import BY_STRUCTURE
from densenet_core.checkpoints.identify.variants import OPERATIONS
from densenet_core.checkpoints.pruning import with_all_connections, without_connections
from densenet_core.networks.build import build_model
from tests.conftest import settled
from tests.densenet_core.checkpoints.identify.handmade.stems import (
    IMAGES,
    Handmade,
    K,
    assert_same_scores,
    deep_stem,
    mlp,
    normed_stem,
    pixelwise,
    small_stem,
    unbiased,
    unbiased_mlp,
    wide_stem,
)

SPEC = DenseNetSpec((2, 2, 2), K, 8, num_classes=5)
DEEP: dict[str, Any] = {"stem": "imagenet", "stem_widths": (5, 6)}
# the module's options, the spec's fields, and the first words of what is assumed
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "stem with a norm": ({"stem": normed_stem}, {"stem_norm": True}, ["ReLU behind the norm of the stem"]),
    "deep stem of three convolutions": ({"stem": deep_stem}, DEEP, ["stride 2", "average pooling"]),
    "1x1 stem": ({"stem": small_stem}, {"stem_kernel": 1}, ["stride 1 in the stem, and no pooling"]),
    "5x5 stem with a norm": (
        {"stem": wide_stem},
        {"stem_kernel": 5, "stem_norm": True},
        ["ReLU behind the norm of the stem"],
    ),
    "classifier without a bias": ({"head": unbiased}, {}, ["a bias of 0 in the classifier, which has none (5 param"]),
    "MLP head without biases": (
        {"head": unbiased_mlp},
        {"head_widths": (7,)},
        ["ReLU between the linear", "a bias of 0 in the classifier, which has none (12 param"],
    ),
    "uneven transitions": ({"kept": (6, 11)}, {"transition_widths": (6, 11)}, []),
    "widening transitions": ({"kept": (24, 40)}, {"transition_widths": (24, 40)}, []),
    "MLP head": ({"head": mlp}, {"head_widths": (7,)}, ["ReLU between the linear"]),
    "1x1 convolution before global average pooling": (
        {"head": pixelwise, "pools_first": False},
        {},
        ["global average pooling"],
    ),
    "deep stem, uneven transitions, MLP head": (
        {"stem": deep_stem, "kept": (15, 5), "head": mlp},
        {**DEEP, "transition_widths": (15, 5), "head_widths": (7,)},
        ["stride 2", "average pooling", "ReLU between"],
    ),
}


def handmade(what: str) -> Handmade:
    """With weights and running statistics that are not the initial ones."""
    torch.manual_seed(0)
    options = dict(CASES[what][0])
    if "stem" in options:
        options["stem"] = options["stem"]()
    model = Handmade(**options)
    return settled(model, lambda: torch.randn(8, 3, 32, 32) + 0.3)


def expected_spec(what: str) -> DenseNetSpec:
    spec = replace(SPEC, compression=0.5)
    return replace(spec, **CASES[what][1])


def torchvisions(key: str) -> str:
    """The name that torchvision or timm has for a tensor of the module above."""
    module, _, part = key.rpartition(".")
    for pattern, name in (
        (r"entry\.(\d+)", lambda m: f"features.{('conv', 'norm')[int(m[1]) % 3]}{int(m[1]) // 3}"),
        (
            r"stages\.(\d)\.(\d)\.(\d)",
            lambda m: (
                f"features.denseblock{int(m[1]) + 1}.denselayer{int(m[2]) + 1}."
                + {"0": "norm1", "2": "conv1", "3": "norm2", "5": "conv2"}[m[3]]
            ),
        ),
        (r"shrinks\.(\d)\.(\d)", lambda m: f"features.transition{int(m[1]) + 1}.{'norm' if m[2] == '0' else 'conv'}"),
        (r"final", lambda m: "features.norm5"),
        (r"head\.(\d)", lambda m: f"classifier.{m[1]}"),
    ):
        if match := re.fullmatch(pattern, module):
            return f"{name(match)}.{part}"
    raise AssertionError(key)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, Handmade, Checkpoint]:
    model = handmade(request.param)
    return request.param, model, checkpoint_from_state_dict(model.state_dict())


Case = tuple[str, Handmade, Checkpoint]


@pytest.mark.slow
def test_its_file_is_read_by_shapes_and_scores_the_same(case: Case) -> None:
    what, model, found = case
    assert found.spec == expected_spec(what)
    assert (found.layout, found.order) == (BY_STRUCTURE, "old_first")
    assumed = CASES[what][2]
    pairs = zip(found.assumed, assumed, strict=False)
    assert all(words.startswith(start) for words, start in pairs) and len(found.assumed) > len(assumed)
    assert {*found.assumed[len(assumed) :]} <= OPERATIONS
    assert_same_scores(found.to_model(), model)


def test_its_file_is_read_by_names_and_scores_the_same(case: Case) -> None:
    what, model, found = case
    named = checkpoint_from_state_dict({f"module.{torchvisions(k)}": t for k, t in model.state_dict().items()})
    assert (named.spec, named.assumed, named.layout) == (
        found.spec,
        found.assumed[: len(CASES[what][2])],
        "torchvision",
    )
    assert_same_scores(named.to_model(), model)


def test_its_table_is_that_of_its_weights(case: Case) -> None:
    _, model, found = case
    table = connection_weights(found).set_index(["block", "source_layer", "target_layer"])["mean_abs_weight"]
    assert len(table) == 3 * (3 + 3)
    head = next(part for part in model.head if isinstance(part, nn.Linear | nn.Conv2d))
    assert table[3, 2, 3] == pytest.approx(head.weight[:, -K:].abs().mean().item(), rel=1e-5)
    shrink = model.shrinks[1][2].weight
    assert table[2, 0, 3] == pytest.approx(shrink[:, : -2 * K].abs().mean().item(), rel=1e-5)


@pytest.mark.slow
def test_its_other_forms_score_the_same(case: Case) -> None:
    _, model, found = case
    assert_same_scores(fuse(found.to_model()), model)  # type: ignore[arg-type]
    assert_same_scores(dissect(found), model)
    assert_same_scores(dissect(found, fold=True), model)


@pytest.mark.slow
def test_it_trains_the_same_in_less_memory(case: Case) -> None:
    found = case[2]
    assert isinstance(found.spec, DenseNetSpec)
    gradients = []
    for memory_efficient in (False, True):
        network = build_model(found.spec, memory_efficient)
        network.load_state_dict(found.state_dict)
        network.train().double()  # in float32, rounding decides about a ReLU near 0
        F.cross_entropy(network(IMAGES.double()), torch.tensor([0, 1, 2])).backward()
        gradients.append({name: weight.grad for name, weight in network.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


@pytest.mark.slow
def test_it_is_pruned_and_restored(case: Case) -> None:
    found = case[2]
    cuts = ((1, 0, 2), (2, 1, 3), (3, 1, 3))
    pruned = without_connections(found, cuts)
    with torch.no_grad():
        zeroed = handmade(case[0])
        zeroed.stages[0][1][2].weight[:, :8] = 0
        zeroed.shrinks[1][2].weight[:, -2 * K : -K] = 0
        next(part for part in zeroed.head if isinstance(part, nn.Linear | nn.Conv2d)).weight[:, -2 * K : -K] = 0
    assert_same_scores(pruned.to_model(), zeroed)
    assert_same_scores(fuse(pruned.to_model()), zeroed)  # type: ignore[arg-type]
    assert_same_scores(with_all_connections(pruned).to_model(), zeroed)


@pytest.mark.slow
def test_it_is_saved_read_and_counted(case: Case, tmp_path: Path) -> None:
    _, model, found = case
    save_checkpoint(found, tmp_path / "a.safetensors")
    back = load_checkpoint(tmp_path / "a.safetensors")
    assert (back.spec, back.assumed) == (found.spec, found.assumed)
    assert_same_scores(back.to_model(), model)
    added = sum(layer.out_features for layer in model.head if isinstance(layer, nn.Linear) and layer.bias is None)
    weights = sum(weight.numel() for weight in model.parameters()) + added
    assert total_cost(count_cost(found.architecture))["params"] == weights == found.num_params
    rows = dict(count_cost(found.architecture, 32)[["name", "mult_adds"]].to_numpy())
    counted: dict[str, int] = {}

    def count(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, _: object, out: Tensor) -> None:
            counted[name] = out[0].numel() * layer.weight[0].numel()

        return hook

    network = found.to_model()
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count(name))
    network(IMAGES)
    assert {name: macs for name, macs in rows.items() if macs and name in counted} == counted


@pytest.mark.slow
def test_the_commands_say_what_they_assume(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, found = case
    file = str(tmp_path / "a.pth")
    torch.save(model.state_dict(), file)
    monkeypatch.setenv("COLUMNS", "300")
    if "deep stem, uneven" in case[0]:
        for command in ("reuse", "cost"):
            assert run([command, file]) == 0
            assert found.spec.title in capsys.readouterr().out
    assert run(["inspect", file]) == 0
    said = capsys.readouterr().out
    assert all(words in said for words in found.assumed) and ("Assumed" in said) == bool(found.assumed)
    assert network_facts(found).get("assumed", "") == "; ".join(found.assumed)  # what the pages show
    fields = (field for field in DenseNetSpec.VARIANT_FIELDS if field in CASES[case[0]][1])
    assert all(field in said for field in fields)


def test_a_prediction_is_a_sum_over_layers_only_with_one_linear_layer(case: Case) -> None:
    what, _, found = case
    if "MLP" in what:
        with pytest.raises(CheckpointError, match="several linear layers in its classifier has no logit by layer"):
            as_predictor(found).final_maps(IMAGES)
        return
    final = as_predictor(found).final_maps(IMAGES)
    torch.testing.assert_close(
        final.contributions().sum(1) + final.bias, found.to_model()(IMAGES), rtol=1e-4, atol=1e-4
    )
