"""State dicts of unknown names are read by their shapes, and checked against the module that made them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from analysis import connection_weights, count_cost, feature_reuse_figure, figure5_observations
from densenet_core import (
    CheckpointError,
    DenseNetSpec,
    checkpoint_from_state_dict,
    create_model,
    load_checkpoint,
    save_checkpoint,
)
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.identify.identified_by import BY_STRUCTURE
from densenet_core.checkpoints.identify.shapes.by_shape import find_structure
from densenet_core.networks.build import build_model
from tests.densenet_core.checkpoints.formats.foreign import ForeignDenseNet, trained

KEYS = ["block", "source_layer", "target_layer", "num_channels"]
EVEN = [[8, 4, 4, 4], [10, 4, 4]]


def assert_same_reuse(table: pd.DataFrame, model: ForeignDenseNet, widths: list[list[int]]) -> None:
    naive = pd.DataFrame(model.naive_reuse(widths), columns=[*KEYS, "mean_abs_weight", "effective_weight"])
    pd.testing.assert_frame_equal(
        table[naive.columns].sort_values(KEYS, ignore_index=True),
        naive.sort_values(KEYS, ignore_index=True),
        check_dtype=False,
        rtol=1e-5,
    )


@pytest.mark.slow
@pytest.mark.parametrize("new_first", [False, True])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])  # safetensors sorts its names
def test_unknown_names_become_a_densenet_of_the_same_scores(ending: str, new_first: bool, tmp_path: Path) -> None:
    model = trained(ForeignDenseNet(new_first=new_first))
    file = tmp_path / f"net.{ending}"
    state = {f"wrapped.{key}": tensor for key, tensor in model.state_dict().items()}
    torch.save(state, file) if ending == "pth" else save_file(state, file)
    found = load_checkpoint(file)
    assert found.spec == DenseNetSpec((3, 2), 4, 8, num_classes=5)
    assert (found.layout, found.order) == (BY_STRUCTURE, "new_first" if new_first else "old_first")
    assert "running statistics" in " ".join(found.notes)
    images = torch.randn(4, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(images), model(images), rtol=1e-4, atol=1e-5)
    assert_same_reuse(connection_weights(found), model, EVEN)


ODD: dict[str, tuple[dict[str, Any], list[list[int]], str]] = {
    "growth by block": ({"growths": (4, 6)}, [[8, 4, 4, 4], [10, 6, 6]], "different numbers of feature maps"),
    "groups": ({"groups": 2}, EVEN, "grouped"),
    "squeeze and excitation": ({"gated": True}, EVEN, "no place in a DenseNet"),
    "two heads": ({"heads": 2}, EVEN, "2 heads"),
}


@pytest.mark.slow
@pytest.mark.parametrize("new_first", [False, True])
@pytest.mark.parametrize("what", ODD)
def test_of_odd_networks_the_table_is_known_and_the_rest_refused(what: str, new_first: bool, tmp_path: Path) -> None:
    options, widths, why = ODD[what]
    model = trained(ForeignDenseNet(new_first=new_first, **options))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "odd.pth")
    found = load_checkpoint(tmp_path / "odd.pth")
    assert isinstance(found.spec, ConcatSpec)
    assert found.order == ("new_first" if new_first else "old_first")
    table = connection_weights(found)
    assert_same_reuse(table, model, widths)
    feature_reuse_figure(table)
    assert len(figure5_observations(table)) == 5
    for refused in (
        found.to_model,
        lambda: count_cost(found.architecture),
        lambda: save_checkpoint(found, tmp_path / "a"),
    ):
        with pytest.raises(CheckpointError, match=rf"only the feature reuse is known: .*({why})"):
            refused()


SPECS = [
    DenseNetSpec.imagenet("121"),
    DenseNetSpec.imagenet("264"),
    DenseNetSpec.cifar(40, 12),
    DenseNetSpec.cifar(250, 24, bottleneck=True, compression=0.5),
    DenseNetSpec((2, 1, 3), 3, 7, bottleneck=False, compression=1.0),
    DenseNetSpec((2, 2), 4, 8, spatial_dims=3, in_channels=1),
    DenseNetSpec((2, 3, 2), 4, 8, transition_widths=(24, 40)),
    DenseNetSpec((3, 2), 4, 8, bottleneck=False, transition_widths=(21,)),
]


@pytest.mark.slow
@pytest.mark.parametrize("is_sorted", [False, True])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.title)
def test_every_tensor_finds_its_place(spec: DenseNetSpec, is_sorted: bool) -> None:
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in build_model(spec).state_dict().items()}
    renamed = {key.replace("features", "body").replace("transition", "down"): shape for key, shape in shapes.items()}
    renamed = dict(sorted(renamed.items())) if is_sorted else renamed
    found = find_structure(renamed)
    assert found.rest == ()
    for theirs, ours in found.our_names().items():
        assert ours.replace("features", "body").replace("transition", "down") == theirs


def test_numbered_layers_find_their_norms_by_order() -> None:
    """conv_1, bn_1, ...: the names say nothing of what belongs together."""
    with torch.device("meta"):
        state = build_model(DenseNetSpec.imagenet("121")).state_dict()
    names: dict[str, str] = {}
    for key in state:
        module = key.rsplit(".", 1)[0]
        kind = "dense" if "classifier" in module else "bn" if "norm" in module else "conv"
        names.setdefault(module, f"{kind}_{sum(name.startswith(kind) for name in names.values())}")
    shapes = {f"{names[key.rsplit('.', 1)[0]]}.{key.rsplit('.', 1)[1]}": tuple(t.shape) for key, t in state.items()}
    found = find_structure(dict(sorted(shapes.items())))
    assert found.our_names() == {theirs: ours for ours, theirs in names.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet-20", "resnet50", "wrn-16-4", "plain-20", "preact-resnet-164"])
def test_other_networks_are_not_taken_for_densenets(name: str) -> None:
    with torch.device("meta"):
        state = create_model(name).state_dict()
    with pytest.raises(CheckpointError, match="not a DenseNet's"):
        find_structure({key: tuple(tensor.shape) for key, tensor in state.items()})


def test_what_is_no_network_says_so(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(3, 3), "b.bias": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"the tensors are named 'a\.weight', 'b\.bias', and no tensor"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.slow
@pytest.mark.parametrize("number", [480, 3000])
def test_a_thousand_layers_that_fit_everywhere_end_the_search(number: int) -> None:
    shapes: dict[str, tuple[int, ...]] = {"stem.weight": (8, 3, 3, 3), "head.weight": (2, 9)}
    for layer in range(number):
        shapes |= {f"a{layer}.weight": (8, 8, 1, 1), f"b{layer}.weight": (8, 8, 3, 3)}
        shapes |= {f"n{layer}.{part}": (8,) for part in ("weight", "bias", "running_mean", "running_var")}
    start = time.process_time()
    with pytest.raises(CheckpointError, match=r"not a DenseNet's|convolutions"):
        find_structure(shapes)
    assert time.process_time() - start < 5


def test_the_two_norms_of_the_last_layer_are_told_apart_without_a_norm_behind_it() -> None:
    """Its layer reads 16 feature maps, which is also the width of its bottleneck."""
    model = trained(ForeignDenseNet(kept=(12,), new_first=True))
    state = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith("final.")}
    found = checkpoint_from_state_dict(state)
    assert isinstance(found.spec, ConcatSpec) and found.order == "new_first"
    assert [target.norm for target in found.spec.targets if target.block == 2] == [
        "stages.1.0.pre",
        "stages.1.1.pre",
        None,
    ]


def test_bottlenecks_in_some_layers_only() -> None:
    """The first block has none; every norm has weights of its own."""
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = {"start.weight": torch.randn(8, 3, 3, 3)}

    def add(name: str, outputs: int, inputs: int, side: int) -> torch.Tensor:
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.norm.{part}"] = torch.rand(inputs)
        state[f"{name}.conv.weight"] = torch.randn(outputs, inputs, side, side)
        return state[f"{name}.conv.weight"]

    targets = {(1, 1): add("one.0", 4, 8, 3), (1, 2): add("one.1", 4, 12, 3), (1, 3): add("down", 10, 16, 1)}
    for layer, inputs in ((1, 10), (2, 14)):
        targets[2, layer] = add(f"two.{layer}.reduce", 16, inputs, 1)
        add(f"two.{layer}.grow", 4, 16, 3)
    for part in ("weight", "bias", "running_mean", "running_var"):
        state[f"last.{part}"] = torch.rand(18)
    targets[2, 3] = state["head.weight"] = torch.randn(5, 18)
    state["head.bias"] = torch.randn(5)
    found = checkpoint_from_state_dict(state)
    assert isinstance(found.spec, ConcatSpec) and "only some of its layers have bottlenecks" in found.spec.why
    table = connection_weights(found).set_index(KEYS[:3])["mean_abs_weight"]
    assert len(table) == 12
    for (block, target), weight in targets.items():
        parts = weight.abs().split([(8, 10)[block - 1], *[4] * (target - 1)], dim=1)
        for source, part in enumerate(parts):
            assert table[block, source, target] == pytest.approx(part.mean().item(), rel=1e-5)
