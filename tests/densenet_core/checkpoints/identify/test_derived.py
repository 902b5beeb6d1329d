"""Derived weights are composed as PyTorch composes them: its own modules are the oracle."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from analysis import connection_weights
from densenet_core import CheckpointError, checkpoint_from_state_dict
from densenet_core.checkpoints.identify.derived import compose_weights
from densenet_core.checkpoints.trace import checkpoint_from_module
from tests.densenet_core.checkpoints.formats.foreign import ForeignDenseNet, trained


def old(name: str) -> Callable[..., nn.Module]:
    def derive(module: nn.Module, **options: int) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and in many files
            return getattr(nn.utils, name)(module, **options)

    return derive


def half(module: nn.Module) -> nn.Module:
    return prune.l1_unstructured(module, "weight", amount=0.5)


def twice(module: nn.Module) -> nn.Module:
    return prune.random_unstructured(half(module), "weight", amount=0.3)


DERIVED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "pruned": half,
    "pruned twice": twice,
    "old weight norm": old("weight_norm"),
    "old weight norm over inputs": lambda module: old("weight_norm")(module, dim=1),
    "old weight norm, one length": lambda module: old("weight_norm")(module, dim=None),
    "old spectral norm": old("spectral_norm"),
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(6, 8, 3),
    "grouped": lambda: nn.Conv2d(6, 8, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(6, 8, 2),
    "1-d": lambda: nn.Conv1d(4, 5, 7),
    "3-d": lambda: nn.Conv3d(2, 3, 3),
    "linear": lambda: nn.Linear(5, 7),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("how", DERIVED)
def test_the_weight_that_torch_computes(how: str, layer: str) -> None:
    torch.manual_seed(0)
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": DERIVED[how](LAYERS[layer]()), "c": nn.Linear(2, 2)}).train()
    inner = module["b"]
    for _ in range(3):  # spectral norm's vectors move
        shape = (2, getattr(inner, "in_channels", 0) or inner.in_features, *(9,) * (inner.weight.ndim - 2))
        inner(torch.randn(shape))
    module.eval()
    if hasattr(inner, "weight_u") or hasattr(inner, "weight_g"):
        inner(torch.randn(shape))  # old hooks compute the weight when the module runs
    arrays, done = compose_weights({key: tensor.numpy() for key, tensor in module.state_dict().items()})
    np.testing.assert_allclose(arrays["b.weight"], inner.weight.detach().numpy(), rtol=2e-6, atol=1e-7)
    assert [key[0] for key in arrays] == list("aabbcc")  # the file's order stays
    assert len(done) == 1 and done[0].startswith("1 ")


def test_an_unknown_parametrization_says_so() -> None:
    module = nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)))
    with pytest.raises(CheckpointError, match=r"'0\.weight' is computed by a parametrization that is not known here"):
        compose_weights({key: tensor.numpy() for key, tensor in module.state_dict().items()})


@pytest.mark.slow
@pytest.mark.parametrize("how", DERIVED)
def test_a_densenet_of_derived_weights_has_the_scores_and_table_of_its_plain_one(how: str) -> None:
    torch.manual_seed(0)
    model = trained(ForeignDenseNet()).train()
    for part in [part for part in model.modules() if isinstance(part, nn.Conv2d)]:
        DERIVED[how](part)
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        model(images)  # statistics of the new weights
        expected = model.eval()(images)
    found = checkpoint_from_state_dict(model.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(images), expected, rtol=1e-4, atol=1e-5)
    weight = model.stages[0][2].squeeze.weight.detach().abs()
    table = connection_weights(found).query("block == 1 and target_layer == 3")
    assert table["mean_abs_weight"].tolist() == pytest.approx(
        [weight[:, a:b].mean().item() for a, b in ((0, 8), (8, 12), (12, 16))]
    )
    assert any("weight" in note or "mask" in note for note in found.notes)


def test_a_missing_part_is_no_constant() -> None:
    state = trained(ForeignDenseNet()).state_dict()
    del state["final.bias"]
    arrays, done = compose_weights({key: tensor.numpy() for key, tensor in state.items()})
    assert "final.bias" not in arrays and done == ()


def test_norms_without_gamma_and_beta_are_ones_and_zeros() -> None:
    class Plain(ForeignDenseNet):
        def __init__(self) -> None:
            super().__init__()
            for part in self.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.weight = part.bias = None

    model, images = trained(Plain()), torch.randn(4, 3, 16, 16)
    found = checkpoint_from_state_dict(model.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(images), model(images), rtol=1e-4, atol=1e-5)


class LearnedGroups(nn.Module):
    """CondenseNet's learned group convolution: BN-ReLU-Conv with ``weight * _mask``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 1, bias=False)
        self.register_buffer("_count", torch.zeros(1))
        self.register_buffer("_stage", torch.zeros(1))
        self.register_buffer("_mask", torch.ones(outputs, inputs, 1, 1))


def condensed(learned: LearnedGroups, groups: int) -> dict[str, torch.Tensor]:
    """As ``CondensingConv`` of ShichenLiu/CondenseNet: the channels of each group, selected by an index."""
    inputs, rows = learned.conv.in_channels, len(learned.conv.weight) // groups
    index, weights = [], []
    for group in range(groups):
        mine = slice(group * rows, (group + 1) * rows)
        index.append(learned._mask[mine][0, :, 0, 0].nonzero().flatten())
        weights.append(learned.conv.weight[mine][:, index[-1]])
    chosen = torch.cat(index)
    assert len(chosen) == inputs
    norm = {f"norm.{part}": tensor[chosen] for part, tensor in learned.norm.state_dict().items() if tensor.ndim}
    return {"index": chosen, "conv.weight": torch.cat(weights), **norm}


def test_condensed_convolutions_are_the_masked_ones_that_they_were() -> None:
    torch.manual_seed(0)
    learned = LearnedGroups(8, 12)
    nn.init.normal_(learned.norm.weight)
    for group in range(4):
        keep = torch.randperm(8)[:2]
        learned._mask[group * 3 : group * 3 + 3] = 0
        learned._mask[group * 3 : group * 3 + 3, keep] = 1
    whole, _ = compose_weights({f"a.{key}": tensor.detach().numpy() for key, tensor in learned.state_dict().items()})
    spread, done = compose_weights({f"a.{key}": t.detach().numpy() for key, t in condensed(learned, 4).items()})
    np.testing.assert_array_equal(spread["a.conv.weight"], whole["a.conv.weight"])
    np.testing.assert_array_equal(whole["a.conv.weight"], (learned.conv.weight * learned._mask).detach().numpy())
    read = learned._mask.sum((0, 2, 3)).numpy() > 0
    np.testing.assert_array_equal(spread["a.norm.weight"][read], learned.norm.weight.detach().numpy()[read])
    assert "a.index" not in spread and "condensed" in done[0]


def test_a_scale_layer_is_folded_into_its_norm() -> None:
    rng = np.random.default_rng(0)
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {f"conv1_bn.{name}": rng.uniform(0.5, 2, 4) for name in names}
    gamma, beta, x = rng.normal(size=4), rng.normal(size=4), rng.normal(size=(3, 4))

    def norm(arrays: dict) -> np.ndarray:
        scaled = (x - arrays["conv1_bn.running_mean"]) / np.sqrt(arrays["conv1_bn.running_var"] + 1e-5)
        return scaled * arrays["conv1_bn.weight"] + arrays["conv1_bn.bias"]

    expected = norm(arrays) * gamma + beta
    folded, done = compose_weights(arrays | {"conv1_scale.weight": gamma, "conv1_scale.bias": beta})
    np.testing.assert_allclose(norm(folded), expected)
    assert folded.keys() == arrays.keys() and "scale" in done[0]


def test_parametrizations_are_gone_from_the_oracle_too() -> None:
    """``remove_parametrizations`` leaves the weight that was composed."""
    torch.manual_seed(1)
    layer = parametrizations.weight_norm(nn.Linear(3, 4))
    arrays, _ = compose_weights({f"m.{key}": t.numpy() for key, t in layer.state_dict().items()})
    parametrize.remove_parametrizations(layer, "weight")
    np.testing.assert_allclose(arrays["m.weight"], layer.weight.detach().numpy(), rtol=2e-6)


class CondenseNet(nn.Module):
    """ShichenLiu/CondenseNet in small: learned groups, growth that doubles, and pooling alone between blocks."""

    def __init__(self, layers: tuple[int, ...] = (3, 2), growth: tuple[int, ...] = (4, 8)) -> None:
        super().__init__()
        width = 8
        self.stem, self.layers, self.sources = nn.Conv2d(3, width, 3, bias=False), nn.ModuleList(), [width]
        for number, added in zip(layers, growth, strict=True):
            for _ in range(number):
                learned = LearnedGroups(width, 4 * added)
                learned._mask = (torch.rand_like(learned._mask) > 0.75).float()
                spatial = nn.Conv2d(4 * added, added, 3, padding=1, groups=4, bias=False)
                parts = {"conv_1": learned, "norm": nn.BatchNorm2d(4 * added), "conv_2": spatial}
                self.layers.append(nn.ModuleDict(parts))
                width += added
                self.sources.append(added)
        self.last, self.classifier = nn.BatchNorm2d(width), nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for number, layer in enumerate(self.layers):
            x = nn.functional.avg_pool2d(x, 2) if number == 3 else x
            shuffled = layer["conv_1"](x).unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2)
            x = torch.cat([x, layer["conv_2"](layer["norm"](shuffled).relu())], 1)
        scores: torch.Tensor = self.classifier(self.last(x).relu().mean((2, 3)))
        return scores


@pytest.mark.parametrize("is_live", [False, True])
def test_a_whole_condensenet_has_the_table_of_its_masked_weights(is_live: bool) -> None:
    torch.manual_seed(0)
    model = CondenseNet()
    live = checkpoint_from_module(model, (1, 3, 16, 16)) if is_live else None
    found = live or checkpoint_from_state_dict(model.state_dict())
    weights = [layer["conv_1"].conv.weight * layer["conv_1"]._mask for layer in model.layers]
    expected = []
    for target, weight in enumerate([*weights, model.classifier.weight], start=1):
        parts = weight.detach().abs().split(model.sources[:target], dim=1)
        expected += [(1, source, target, part.mean().item()) for source, part in enumerate(parts)]
    table = connection_weights(found).sort_values(["target_layer", "source_layer"])
    got = table[["block", "source_layer", "target_layer", "mean_abs_weight"]].itertuples(index=False)
    assert [tuple(row) for row in got] == [(*row[:3], pytest.approx(row[3], rel=1e-5)) for row in expected]
    assert is_live or "5 weights multiplied with their masks" in " ".join(found.notes)
    with pytest.raises(CheckpointError, match="all its layers form one block, and poolings between them"):
        found.to_model()


def test_an_index_of_outputs_is_not_one_of_selected_inputs() -> None:
    """CondenseNetV2 orders what its sparse feature reactivation returns by an index beside the convolution."""
    state = {"a.norm.weight": torch.ones(8), "a.conv.weight": torch.ones(16, 2, 1, 1), "a.index": torch.arange(16)}
    arrays, done = compose_weights({key: tensor.numpy() for key, tensor in state.items()})
    assert arrays["a.conv.weight"].shape == (16, 2, 1, 1)
    assert "a.index" in arrays and not done
