"""Tensors beside the weights that change them are used or named, and operations that shapes do not show are assumed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis import connection_weights
from app.cli.main import run
from app.text import network_facts
from densenet_core import Checkpoint, checkpoint_from_state_dict, load_checkpoint, save_checkpoint
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.identify.variants import OPERATIONS
from tests.densenet_core.checkpoints.formats.foreign import ForeignDenseNet, trained

State = dict[str, Any]
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> ForeignDenseNet:
    torch.manual_seed(0)
    return trained(ForeignDenseNet())


@pytest.fixture(scope="module")
def masks(model: nn.Module) -> State:
    torch.manual_seed(1)
    convs = [name for name, part in model.named_modules() if isinstance(part, nn.Conv2d)]
    weights = {f"{name}.weight": model.get_submodule(name).weight for name in convs}
    return {name: (torch.rand_like(weight) > 0.5).float() for name, weight in weights.items()}


@pytest.fixture(scope="module")
def masked(model: nn.Module, masks: State) -> nn.Module:
    """As the network computes: with weights times masks."""
    whole = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in masks.items():
            whole.get_parameter(name).mul_(mask)
    return whole


def modules(names: State) -> State:
    return {name.removesuffix(".weight"): mask for name, mask in names.items()}


SAVED: dict[str, Callable[[State, State], State]] = {
    "a mapping of masks": lambda state, masks: {"state_dict": state, "masks": masks},
    "masks named as modules": lambda state, masks: {"net": state, "epoch": 3, "pruning_masks": modules(masks)},
    "DataParallel around the network": lambda state, masks: {
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
        "mask": {name: mask.bool() for name, mask in masks.items()},
    },
    "weight_mask beside weight": lambda state, masks: state | {f"{name}_mask": mask for name, mask in masks.items()},
    "a sequence of masks": lambda state, masks: {"state_dict": state, "masks": list(masks.values())},
    "masks by place, also of the classifier": lambda state, masks: {
        "net": state,
        "prune_mask": [*(m.bool() for m in masks.values()), torch.ones_like(state["outs.0.weight"])],
    },
    "a prefix": lambda state, masks: state | {f"masks.{name}": mask for name, mask in masks.items()},
    "a prefix each": lambda state, masks: (
        {f"model.{name}": tensor for name, tensor in state.items()}
        | {f"masks.{name}": mask for name, mask in modules(masks).items()}
    ),
    "mask beside weight": lambda state, masks: state | {f"{name}.mask": mask for name, mask in modules(masks).items()},
}


@pytest.mark.slow
@pytest.mark.parametrize("is_masked_already", [False, True])
@pytest.mark.parametrize("how", SAVED)
def test_masks_are_multiplied_with_their_weights(
    how: str, is_masked_already: bool, model: nn.Module, masks: State, masked: nn.Module, tmp_path: Path
) -> None:
    torch.save(SAVED[how]((masked if is_masked_already else model).state_dict(), masks), tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(IMAGES), masked(IMAGES), rtol=1e-4, atol=1e-5)
    assert found.num_params == sum(weight.numel() for weight in model.parameters())
    number = len(masks) + ("classifier" in how)
    assert f"{number} weights multiplied with their masks" in found.notes
    assert found.caveats == () and found.held is not None
    assert not any("mask" in name for name in (*found.held.others, *found.held.other_weights))


ODD: dict[str, tuple[Callable[[State, State], State], str]] = {
    "scales of channels": (
        lambda state, masks: state | {f"{n}.scale": torch.rand(len(m), 1, 1, 1) for n, m in modules(masks).items()},
        "'entry.scale'",
    ),
    "masks of other values": (
        lambda state, masks: state | {f"{name}_mask": mask + 0.5 for name, mask in masks.items()},
        "'entry.weight_mask'",
    ),
    "masks of some weights": (lambda state, masks: {"state_dict": state, "masks": [*masks.values()][1:]}, "'masks'"),
    "masks of unknown names": (
        lambda state, masks: {"state_dict": state, "masks": {f"m{i}": mask for i, mask in enumerate(masks.values())}},
        "'masks'",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", ODD)
def test_what_may_change_the_weights_and_is_not_used_is_said_everywhere(
    what: str, model: nn.Module, masks: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save, name = ODD[what]
    file = str(tmp_path / "a.pth")
    torch.save(save(model.state_dict(), masks), file)
    found = load_checkpoint(file)
    (caveat,) = found.caveats
    assert f"without {name}" in caveat and network_facts(found)["caveats"] == caveat
    for command in ("reuse", "inspect"):
        assert run([command, file]) == 0
        printed = capsys.readouterr()
        assert caveat in printed.out + printed.err


def test_a_caveat_is_saved(model: nn.Module, masks: State, tmp_path: Path) -> None:
    torch.save(ODD["masks of unknown names"][0](model.state_dict(), masks), tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    save_checkpoint(found, tmp_path / "a.safetensors")
    assert load_checkpoint(tmp_path / "a.safetensors").caveats == found.caveats != ()


def test_other_tensors_are_no_caveat(model: nn.Module) -> None:
    beside = {"mask_token": torch.zeros(1, 1, 8), "entry.total_ops": torch.zeros(1, dtype=torch.float64)}
    assert checkpoint_from_state_dict(model.state_dict() | beside).caveats == ()


def test_what_acts_on_feature_maps_is_no_caveat(model: nn.Module) -> None:
    """The slopes of PReLUs and the gates of squeeze and excitation have weights of their own."""
    beside = {"stages.0.0.prelu.weight": torch.ones(1), "stages.0.0.gate.weight": torch.ones(2, 4)}
    found = checkpoint_from_state_dict(model.state_dict() | beside)
    assert {*found.ignored} == {*beside} and found.caveats == ()


def test_norms_that_were_folded_into_convolutions_are_a_caveat() -> None:
    """As after ``fuse_conv_bn_eval``: the second norm of each layer is part of the convolution before it."""
    model = trained(ForeignDenseNet())
    for unit in [unit for stage in model.stages for unit in stage]:
        unit.squeeze = nn.utils.fuse_conv_bn_eval(unit.squeeze.eval(), unit.mid.eval())
        unit.mid = nn.Identity()
    (caveat,) = checkpoint_from_state_dict(model.state_dict()).caveats
    assert caveat.startswith("5 convolutions have a bias: their weights may hold the scale of a batch norm")
    assert checkpoint_from_state_dict(trained(ForeignDenseNet(bias=True)).state_dict()).caveats == ()


class OtherFunctions(ForeignDenseNet):
    """With functions that a state dict does not show."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        for number, stage in enumerate(self.stages):
            for unit in stage:
                x = torch.cat((x, unit.expand(F.elu(unit.mid(unit.squeeze(F.elu(unit.pre(x))))))), 1)
            if number < len(self.shrinks):
                x = F.max_pool2d(self.shrinks[number]["c"](F.elu(self.shrinks[number]["n"](x))), 2)
        return self.outs[0](F.elu(self.final(x)).mean((2, 3)))


def pickled(model: nn.Module, file: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    for part in model.modules():
        monkeypatch.setattr(type(part), "__module__", type(part).__module__)
    torch.save(model, file)
    return load_checkpoint(file)


def test_operations_that_shapes_do_not_show_are_assumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained(OtherFunctions())
    found = checkpoint_from_state_dict(model.state_dict())
    assert {*found.assumed} <= OPERATIONS and len(found.assumed) == 5
    said = "; ".join(found.assumed)
    assert all(words in said for words in ("ReLU", "average pooling in the transitions", "no pooling", "1e-05"))
    whole = pickled(model, tmp_path / "a.pth", monkeypatch)
    assert {*found.assumed} - {*whole.assumed} == {"an epsilon of 1e-05 in the batch norms"}  # which its norms show


@pytest.mark.slow
def test_commands_on_images_say_what_they_assume(
    model: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    torch.save(model.state_dict(), tmp_path / "a.pth")
    Image.new("RGB", (16, 16), (200, 30, 90)).save(tmp_path / "a.png")
    assert run(["explain", str(tmp_path / "a.pth"), str(tmp_path / "a.png"), "--normalize", "cifar10"]) == 0
    assert "note: assumed, as the file does not show it: ReLU as the activation; average" in capsys.readouterr().err
    assert run(["reuse", str(tmp_path / "a.pth")]) == 0
    assert "assumed" not in capsys.readouterr().err  # a table of weights does not depend on it


def test_a_network_without_scores_assumes_no_operations(model: nn.Module) -> None:
    state = model.state_dict() | {"entry.scale": torch.ones(8)}
    found = checkpoint_from_state_dict(state)
    assert isinstance(found.spec, ConcatSpec) and found.assumed == ()
    assert len(connection_weights(found)) == 10 + 6
