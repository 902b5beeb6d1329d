"""DenseNets with other stems, transitions and classifiers, each against a module written by hand here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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
from densenet_core.checkpoints.identify.infer_spec import infer_densenet_spec, list_assumptions
from densenet_core.checkpoints.identify.variants import POOLED, with_plain_head
from densenet_core.checkpoints.pruning import with_all_connections, without_connections
from densenet_core.networks.build import build_model
from densenet_core.networks.layers import network_layers, tensor_shapes

K = 4  # growth rate
Stem = Callable[[], tuple[nn.Sequential, int]]


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Blur(nn.Module):
    """The 1-2-1 filter with stride 2, as a loop over the nine pixels that it reads."""

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        height, width = x.shape[2:]
        total = torch.zeros_like(padded[:, :, 0:height:2, 0:width:2])
        for i, a in enumerate((1, 2, 1)):
            for j, b in enumerate((1, 2, 1)):
                total = total + a * b / 16 * padded[:, :, i : i + height : 2, j : j + width : 2]
        return total


def normed_stem() -> nn.Sequential:
    return nn.Sequential(conv(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())


def deep_stem(*pool: nn.Module) -> nn.Sequential:
    parts: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 5, 2), (5, 6, 1), (6, 8, 1)):
        parts += [conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*parts, *(pool or (nn.MaxPool2d(3, 2, 1),)))


class Handmade(nn.Module):
    """Three dense blocks of two layers with bottlenecks, and whatever stem, transitions and head are given."""

    def __init__(
        self,
        stem: nn.Sequential | None = None,
        kept: tuple[int, int] = (8, 8),
        pool: nn.Module | None = None,
        head: Callable[[int], nn.Module] = lambda width: nn.Sequential(nn.Flatten(), nn.Linear(width, 5)),
        pools_first: bool = True,
    ) -> None:
        super().__init__()
        self.entry, self.pools_first = stem or nn.Sequential(conv(3, 8, 3)), pools_first
        self.stages, self.shrinks, width = nn.ModuleList(), nn.ModuleList(), 8
        for block in range(3):
            stage = nn.ModuleList()
            for _ in range(2):
                norms = nn.BatchNorm2d(width), nn.BatchNorm2d(4 * K)
                stage.append(
                    nn.Sequential(norms[0], nn.ReLU(), conv(width, 4 * K, 1), norms[1], nn.ReLU(), conv(4 * K, K, 3))
                )
                width += K
            self.stages.append(stage)
            if block < 2:
                out = kept[block]
                self.shrinks.append(
                    nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), conv(width, out, 1), pool or nn.AvgPool2d(2))
                )
                width = out
        self.final, self.head = nn.BatchNorm2d(width), head(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        for block, stage in enumerate(self.stages):
            for layer in stage:
                x = torch.cat((x, layer(x)), 1)
            if block < 2:
                x = self.shrinks[block](x)
        x = F.relu(self.final(x))
        if self.pools_first:
            return self.head(x.mean((2, 3), keepdim=True))
        return self.head(x).mean((2, 3))


def mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 7), nn.ReLU(), nn.Dropout(), nn.Linear(7, 5))


def pixelwise(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width, 5, 1))


SPEC = DenseNetSpec((2, 2, 2), K, 8, num_classes=5)
DEEP: dict[str, Any] = {"stem": "imagenet", "stem_widths": (5, 6)}
# the module's options, the spec's fields, and the first words of what is assumed
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "stem with a norm": ({"stem": normed_stem}, {"stem_norm": True}, ["ReLU behind the norm of the stem"]),
    "deep stem of three convolutions": ({"stem": deep_stem}, DEEP, ["stride 2", "average pooling"]),
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
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
    model.train()
    for _ in range(2):
        model(torch.randn(8, 3, 32, 32) + 0.3)
    return model.eval()


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
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def assert_same_scores(found: nn.Module | Callable[[Tensor], Tensor], model: nn.Module) -> None:
    with torch.inference_mode():
        expected = model(IMAGES)
        assert expected.std() > 1e-2
        torch.testing.assert_close(found(IMAGES), expected, rtol=1e-5, atol=1e-5)


def test_its_file_is_read_by_shapes_and_scores_the_same(case: Case) -> None:
    what, model, found = case
    assert found.spec == expected_spec(what)
    assert (found.layout, found.order) == (BY_STRUCTURE, "old_first")
    assumed = CASES[what][2]
    assert len(found.assumed) == len(assumed)
    assert all(words.startswith(start) for words, start in zip(found.assumed, assumed, strict=True))
    assert_same_scores(found.to_model(), model)


def test_its_file_is_read_by_names_and_scores_the_same(case: Case) -> None:
    _, model, found = case
    named = checkpoint_from_state_dict({f"module.{torchvisions(k)}": t for k, t in model.state_dict().items()})
    assert (named.spec, named.assumed, named.layout) == (found.spec, found.assumed, "torchvision")
    assert_same_scores(named.to_model(), model)


def test_its_table_is_that_of_its_weights(case: Case) -> None:
    _, model, found = case
    table = connection_weights(found).set_index(["block", "source_layer", "target_layer"])["mean_abs_weight"]
    assert len(table) == 3 * (3 + 3)
    head = next(part for part in model.head if isinstance(part, nn.Linear | nn.Conv2d))
    assert table[3, 2, 3] == pytest.approx(head.weight[:, -K:].abs().mean().item(), rel=1e-5)
    shrink = model.shrinks[1][2].weight
    assert table[2, 0, 3] == pytest.approx(shrink[:, : -2 * K].abs().mean().item(), rel=1e-5)


def test_its_other_forms_score_the_same(case: Case) -> None:
    _, model, found = case
    assert_same_scores(fuse(found.to_model()), model)  # type: ignore[arg-type]
    assert_same_scores(dissect(found), model)
    assert_same_scores(dissect(found, fold=True), model)


def test_it_trains_the_same_in_less_memory(case: Case) -> None:
    found = case[2]
    assert isinstance(found.spec, DenseNetSpec)
    gradients = []
    for memory_efficient in (False, True):
        network = build_model(found.spec, memory_efficient)
        network.load_state_dict(found.state_dict)
        F.cross_entropy(network.train()(IMAGES), torch.tensor([0, 1, 2])).backward()
        gradients.append({name: weight.grad for name, weight in network.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-5, msg=name)


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


def test_it_is_saved_read_and_counted(case: Case, tmp_path: Path) -> None:
    what, model, found = case
    save_checkpoint(found, tmp_path / "a.safetensors")
    back = load_checkpoint(tmp_path / "a.safetensors")
    assert (back.spec, back.assumed) == (found.spec, found.assumed)
    assert_same_scores(back.to_model(), model)
    bias = 5 if what.startswith("1x1") and model.head[0].bias is None else 0
    weights = sum(weight.numel() for weight in model.parameters()) + bias
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


def test_blur_pooling_is_a_binomial_filter() -> None:
    torch.manual_seed(0)
    model = Handmade(deep_stem(nn.MaxPool2d(3, 1, 1), Blur()), pool=Blur()).eval()
    found = checkpoint_from_state_dict(model.state_dict())
    assert isinstance(found.spec, DenseNetSpec)
    blurred = replace(found, spec=replace(found.spec, blur_pool=True))
    for network in (blurred.to_model(), fuse(blurred.to_model()), dissect(blurred)):  # type: ignore[arg-type]
        assert_same_scores(network, model)
    odd = torch.randn(2, 3, 57, 57)
    with torch.inference_mode():
        torch.testing.assert_close(blurred.to_model()(odd), model(odd), rtol=1e-5, atol=1e-5)
        last = blurred.to_model().get_submodule("features")(odd).shape[-1]
    assert network_layers(blurred.architecture, 57)[-2].in_size == last


def test_the_smallest_input_of_blur_pooling_is_the_smallest_that_runs() -> None:
    spec = DenseNetSpec((1, 1), 2, 4, stem="imagenet", stem_widths=(4, 4), blur_pool=True)
    model = build_model(spec).eval()
    runs = []
    for size in range(1, 24):
        try:
            network_layers(spec, size)
        except ValueError as error:
            assert "too small" in str(error)
            with pytest.raises(RuntimeError):
                model(torch.zeros(1, 3, size, size))
        else:
            assert model(torch.zeros(1, 3, size, size)).isfinite().all()
            runs.append(size)
    assert runs == list(range(runs[0], 24))


def test_timms_densenetblur121d_and_densenet264d_are_known_by_their_shapes() -> None:
    blur = DenseNetSpec(
        (6, 12, 24, 16), 32, 64, num_classes=1000, stem="imagenet", stem_widths=(32, 32), blur_pool=True
    )
    assert infer_densenet_spec(tensor_shapes(blur)) == blur
    assert any("densenetblur121d" in words for words in list_assumptions(blur))
    large = DenseNetSpec((6, 12, 64, 48), 48, 96, num_classes=1000, stem="imagenet", stem_widths=(48, 48))
    assert infer_densenet_spec(tensor_shapes(large)) == large


def test_a_convolution_without_bias_becomes_a_linear_layer_with_0() -> None:
    state, assumed = with_plain_head({"classifier.conv.weight": torch.ones(5, 8, 1, 1).numpy()})
    assert {key: array.shape for key, array in state.items()} == {"classifier.weight": (5, 8), "classifier.bias": (5,)}
    assert not state["classifier.bias"].any() and assumed == (POOLED,)


variants = st.fixed_dictionaries(
    {},
    optional={
        "head_widths": st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
        "transition_widths": st.lists(st.integers(1, 99), min_size=2, max_size=2).map(tuple),
        "bottleneck": st.booleans(),
        "spatial_dims": st.integers(1, 3),
    },
)
stems = st.one_of(
    st.builds(lambda norm: {"stem_norm": norm}, st.booleans()),
    st.lists(st.integers(1, 20), max_size=3).map(lambda widths: {"stem": "imagenet", "stem_widths": tuple(widths)}),
)


@settings(max_examples=25, deadline=None)
@given(variants, stems)
def test_every_variant_is_read_back_from_its_state_dict(fields: dict[str, Any], stem: dict[str, Any]) -> None:
    spec = DenseNetSpec((2, 1, 2), 3, 8, **fields, **stem)
    with torch.device("meta"):
        state = build_model(spec).state_dict()
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    assert tensor_shapes(spec) == shapes
    found = infer_densenet_spec(shapes)
    assert found.block_inputs == spec.block_inputs
    same = {"compression": spec.compression, "transition_widths": spec.transition_widths}  # many give the same widths
    assert replace(found, **same) == spec


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stem_norm": True, "stem": "imagenet"}, "stem_norm is for the stem 'cifar'"),
        ({"stem_widths": (4,)}, "need the stem 'imagenet'"),
        ({"blur_pool": True}, "need the stem 'imagenet'"),
        ({"blur_pool": True, "stem": "imagenet", "spatial_dims": 3}, "blur_pool needs spatial_dims 2, not 3"),
        ({"transition_widths": (4,)}, r"transition_widths \(4,\) must have 2 numbers"),
        ({"stem_widths": (4,) * 101, "stem": "imagenet"}, "stem_widths must be a tuple of at most 100 numbers"),
        ({"head_widths": 5}, "head_widths must be a tuple"),
        ({"head_widths": (0,)}, r"head_widths \(0,\) must contain whole numbers, 1 or more"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DenseNetSpec((2, 1, 2), 3, 8, **fields)


def test_a_plain_network_is_described_as_before() -> None:
    assert SPEC.visible_fields().keys().isdisjoint(DenseNetSpec.VARIANT_FIELDS)
    assert replace(SPEC, head_widths=(3,)).visible_fields()["head_widths"] == (3,)
