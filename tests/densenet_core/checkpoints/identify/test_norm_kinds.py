"""DenseNets with other norms than batch norms, against a module written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis import connection_weights, count_cost, total_cost
from analysis.architecture.memory import training_activation_bytes
from app.cli.main import run
from densenet_core import Checkpoint, CheckpointError, DenseNetSpec, checkpoint_from_state_dict, fuse, load_checkpoint
from densenet_core import save_checkpoint as save
from densenet_core.checkpoints.identify.variants import without
from densenet_core.checkpoints.trace import checkpoint_from_module
from densenet_core.networks.build import build_model
from densenet_core.networks.layers import network_layers, parse_norm
from tests.densenet_core.checkpoints.identify.handmade.norms import (
    Grouped,
    Hand,
    K,
    Norm,
    OfTheBatch,
    Pixelwise,
    assert_same_scores,
    filled,
)

# the norm by hand, the names of its modules, what the caller says, the kind, and how much is assumed
CASES: dict[str, tuple[Norm, str, str | None, tuple[str, int], int]] = {
    "group norm": (lambda width: Grouped(32, width), "norm", None, ("group", 32), 2),
    "group norm of 16 groups, told": (lambda width: Grouped(16, width), "norm", "group-16", ("group", 16), 1),
    "group norm by its name": (lambda width: Grouped(32, width), "gn", None, ("group", 32), 2),
    "layer norm by its name": (Pixelwise, "ln", None, ("layer", 0), 2),
    "layer norm, told": (Pixelwise, "norm", "layer", ("layer", 0), 1),
    "instance norm by its name": (lambda width: Grouped(width, width), "instance_norm", None, ("instance", 0), 2),
    "batch norm without running statistics, told": (OfTheBatch, "bn", "batch_statistics", ("batch_statistics", 0), 2),
}
Case = tuple[str, Hand, Checkpoint]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    norm, name, told, _, _ = CASES[request.param]
    model = filled(norm, name=name)
    return request.param, model, checkpoint_from_state_dict(model.state_dict(), norm=told)


@pytest.mark.slow
def test_it_is_built_and_scores_the_same(case: Case) -> None:
    what, model, found = case
    kind, groups = CASES[what][3]
    assert found.spec == DenseNetSpec((2, 2), K, 64, num_classes=5, norm=kind, norm_groups=groups)  # type: ignore[arg-type]
    assert found.order is None and len(without(found.assumed)) == CASES[what][4]
    assert "old feature maps are concatenated first" in found.assumed
    network = found.to_model()
    assert_same_scores(network, model)
    assert_same_scores(fuse(network), model)  # type: ignore[arg-type]
    assert network.state_dict().keys() == found.arrays.keys()


def test_its_table_is_read_and_its_cost_counted(case: Case) -> None:
    _, model, found = case
    table = connection_weights(found).set_index(["block", "source_layer", "target_layer"])
    weight = model.layers[4]["conv1"].weight  # type: ignore[index]
    assert table["mean_abs_weight"][2, 1, 2] == pytest.approx(weight[:, -K:].abs().mean().item(), rel=1e-5)
    cost = count_cost(found.architecture, 16)
    assert total_cost(cost)["params"] == sum(weight.numel() for weight in model.parameters())
    norms = cost[cost["kind"] == "norm"]
    assert (norms["other_ops"] == 5 * norms["activation_bytes"] // 4).all()


def test_it_is_saved_and_read(case: Case, tmp_path: Path) -> None:
    _, model, found = case
    save(found, tmp_path / "a.safetensors")
    back = load_checkpoint(tmp_path / "a.safetensors")
    assert (back.spec, back.assumed) == (found.spec, found.assumed)
    assert_same_scores(back.to_model(), model)


@pytest.mark.slow
def test_the_command_line_says_what_is_assumed_and_takes_the_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    file = str(tmp_path / "a.pth")
    torch.save(filled(lambda width: Grouped(8, width), growth=8).state_dict(), file)
    assert run(["inspect", file]) == 0
    said = capsys.readouterr().out
    assert "which kind they are is not visible" in said and "choose with --norm, such as group-4" in said
    assert run(["cost", file, "--norm", "group-8"]) == 0
    assert "DenseNet-BC" in capsys.readouterr().out
    assert run(["inspect", file, "--norm", "group-9"]) == 0
    assert "norm_groups 9 does not divide" in capsys.readouterr().out
    assert run(["inspect", file, "--norm", "grup"]) == 2
    assert "norm 'grup' is unknown: choose from batch, batch_statistics, group" in capsys.readouterr().err


def test_parameters_of_batch_norms_without_their_statistics_are_not_taken_for_group_norms() -> None:
    """``dict(model.named_parameters())`` has no buffers; all widths are multiples of 32."""
    parameters = dict(filled(lambda width: nn.BatchNorm2d(width), name="bn").named_parameters())
    with pytest.raises(CheckpointError, match=r"'layers\.0\.bn1', .* and they have the names of batch norms"):
        checkpoint_from_state_dict(parameters).to_model()
    assert "batch norms without statistics, have the same tensors" in " ".join(
        checkpoint_from_state_dict(dict(filled(lambda width: nn.BatchNorm2d(width)).named_parameters())).assumed
    )


def test_a_kind_for_batch_norms_is_refused() -> None:
    state = build_model(DenseNetSpec((1, 1), 4, 8)).state_dict()
    with pytest.raises(CheckpointError, match="norm 'layer' is for norms without running statistics, and the file"):
        checkpoint_from_state_dict(state, norm="layer")


def test_measures_that_need_batch_norms_say_so() -> None:
    from analysis.reuse.dissection import dissect

    found = checkpoint_from_state_dict(filled(Pixelwise, name="ln").state_dict())
    with pytest.raises(CheckpointError, match="effects of single sources are measured on networks whose batch norms"):
        dissect(found)


@pytest.mark.parametrize("norm", ["group-2", "layer", "instance", "batch_statistics"])
def test_new_maps_first_is_converted_where_the_norm_allows_it(norm: str) -> None:
    model = filled({"group-2": lambda width: Grouped(2, width), "layer": Pixelwise}.get(norm, OfTheBatch), growth=4)
    if norm == "group-2":
        found = checkpoint_from_state_dict(model.state_dict(), order="new_first", norm=norm)
        with pytest.raises(CheckpointError, match="group norms do not allow another order"):
            found.to_model()
        return
    converted = checkpoint_from_state_dict(model.state_dict(), order="new_first", norm=norm)
    weight = model.layers[1]["conv1"].weight.detach()  # type: ignore[index]
    torch.testing.assert_close(
        converted.state_dict["features.denseblock1.denselayer2.conv1.weight"],
        torch.cat((weight[:, 4:], weight[:, :4]), 1),
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"norm": "grup"}, "norm 'grup' is unknown"),
        ({"norm": "group"}, "norm_groups 0 must be 1 or more for group norms"),
        ({"norm_groups": 4}, "norm_groups 4 must be 1 or more for group norms, and 0 for others"),
        ({"norm": "group", "norm_groups": 5}, "norm_groups 5 does not divide the 8 feature maps"),
        ({"norm": "layer", "cuts": ((1, 0, 2),)}, "cuts need norms that treat each feature map by itself"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DenseNetSpec((2, 2), 4, 8, **fields)


def test_its_training_keeps_what_is_counted() -> None:
    spec = DenseNetSpec((1, 1), 4, 8, norm="group", norm_groups=2)
    model, kept = build_model(spec), dict[int, int]()

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)
        return tensor

    held = list(model.parameters())
    own = {weight.untyped_storage().data_ptr() for weight in held}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.randn(2, 3, 16, 16))
    total = sum(size for place, size in kept.items() if place not in own)
    assert total == training_activation_bytes(spec, 16, 2)


def test_an_instance_norm_needs_two_values() -> None:
    spec = DenseNetSpec((1, 1, 1), 4, 8, norm="instance")
    with pytest.raises(ValueError, match="the smallest that works is 8"):
        network_layers(spec, 7)
    assert build_model(spec).eval()(torch.zeros(1, 3, 8, 8)).isfinite().all()
    with pytest.raises(ValueError, match="spatial element"):
        build_model(spec).eval()(torch.zeros(1, 3, 7, 7))


def test_a_live_module_shows_the_kind() -> None:
    class Live(Hand):
        """Without a state dict that shows the number of groups."""

    model = Live(lambda width: nn.GroupNorm(16, width)).eval()
    found = checkpoint_from_module(model)
    assert found.spec == DenseNetSpec((2, 2), K, 64, num_classes=5, norm="group", norm_groups=16)
    assert_same_scores(found.to_model(), model)


def test_parse_norm() -> None:
    assert parse_norm("group") == ("group", 32)
    with pytest.raises(ValueError, match="norm 'group-x' is unknown"):
        parse_norm("group-x")


def test_connections_of_instance_norms_are_cut_and_restored() -> None:
    from densenet_core.checkpoints.pruning import with_all_connections, without_connections

    model = filled(lambda width: Grouped(width, width), name="instance_norm", growth=4)
    found = checkpoint_from_state_dict(model.state_dict())
    pruned = without_connections(found, ((1, 0, 2), (2, 1, 3)))
    with torch.no_grad():
        model.layers[1]["conv1"].weight[:, :8] = 0  # type: ignore[index]
        model.out.weight[:, -8:-4] = 0
    assert_same_scores(pruned.to_model(), model)
    assert_same_scores(with_all_connections(pruned).to_model(), model)


def test_a_kind_that_the_modules_of_a_file_contradict_is_refused(tmp_path: Path) -> None:
    spec = DenseNetSpec((2, 2), 4, 8, norm="group", norm_groups=4)
    torch.save(build_model(spec), file := tmp_path / "whole.pt")
    assert load_checkpoint(file).spec == load_checkpoint(file, norm="group-4").spec == spec
    with pytest.raises(CheckpointError, match="norm 'layer' contradicts the file, whose modules are group-4 norms"):
        load_checkpoint(file, norm="layer")
