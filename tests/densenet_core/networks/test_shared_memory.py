"""Training without concatenations: ours beside the plain path, in double precision, and beside torchvision."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import DenseNet as TorchvisionDenseNet

from analysis.architecture.memory import training_activation_bytes
from densenet_core import DenseNet, DenseNetSpec, create_model
from densenet_core.networks.shared_memory import feature_maps
from tests.analysis.architecture.test_cost import kept_by_autograd

BC = DenseNetSpec((3, 4, 2), 4, 8)
SPECS = {
    "bottlenecks": BC,
    "none": DenseNetSpec((3, 4), 4, 8, bottleneck=False, compression=1.0),
    "imagenet": DenseNetSpec((2, 3), 4, 8, stem="imagenet"),
    "1d": DenseNetSpec((2, 2), 4, 8, spatial_dims=1),
    "3d": DenseNetSpec((2, 2), 4, 8, spatial_dims=3),
    "cut": replace(BC, cuts=((1, 1, 3), (2, 0, 2), (2, 1, 5), (3, 1, 3))),
}


def pair(spec: DenseNetSpec) -> tuple[DenseNet, DenseNet]:
    """The plain path and ours, in double precision, with norms that are not as they begin."""
    torch.manual_seed(0)
    plain = DenseNet(spec, memory_efficient=False).double().train()
    for parameter in plain.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    ours = DenseNet(spec, memory_efficient=True).double().train()
    ours.load_state_dict(plain.state_dict())
    return plain, ours


def images_for(spec: DenseNetSpec) -> Tensor:
    """Three images whose sides pooling does not divide."""
    sides = (38, 44, 42)[: spec.spatial_dims] if spec.stem == "imagenet" else (10, 13, 11)[: spec.spatial_dims]
    return torch.randn(3, 3, *sides, dtype=torch.float64)


def step(model: nn.Module, images: Tensor) -> Tensor:
    """The gradient of the images, after a backward pass."""
    images = images.clone().requires_grad_()
    F.cross_entropy(model(images), torch.arange(len(images))).backward()
    assert images.grad is not None
    return images.grad


def assert_same(plain: DenseNet, ours: DenseNet, images: Tensor) -> None:
    """Gradients of images and parameters, and running statistics, after one step of both."""
    torch.testing.assert_close(step(ours, images), step(plain, images), rtol=1e-9, atol=1e-12)
    for (name, a), b in zip(plain.named_parameters(), ours.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None, name
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-9, atol=1e-11, msg=lambda m, name=name: f"{name}: {m}")
    for (name, a), b in zip(plain.named_buffers(), ours.buffers(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-12, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("part_bytes", [8_000_000, 1], ids=["one part", "an image a part"])
def test_gradients_and_statistics_are_those_of_the_plain_path(
    spec: DenseNetSpec, part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_maps, "PART_BYTES", part_bytes)
    plain, ours = pair(spec)
    assert_same(plain, ours, images_for(spec))


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_no_memory_is_read_before_it_is_written(spec: DenseNetSpec) -> None:
    plain, ours = pair(spec)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills what is allocated with NaN
    try:
        assert_same(plain, ours, images_for(spec))
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["frozen", "some frozen", "average", "no statistics", "dilated", "evaluation"])
def test_so_they_are_of_changed_networks(change: str) -> None:
    plain, ours = pair(BC)
    images = images_for(BC)
    for model in (plain, ours):
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        step(model, images)  # statistics that are not as they begin
        model.zero_grad()
        if change == "evaluation":
            model.eval()
        for norm in norms[:: 2 if change == "some frozen" else 1]:
            if "frozen" in change:
                norm.eval()
            if change == "average":
                norm.momentum = None
            if change == "no statistics":
                norm.running_mean = norm.running_var = None
        if change == "dilated":
            conv = model.features.denseblock1.denselayer2.conv2
            conv.dilation = conv.padding = (2, 2)
    assert_same(plain, ours, images)


def test_dropout_has_the_gradient_of_what_it_let_through() -> None:
    _, ours = pair(replace(BC, drop_rate=0.3))
    images, direction = images_for(BC), torch.randn(3, 3, 10, 13, dtype=torch.float64)

    def loss(at: Tensor) -> Tensor:
        torch.manual_seed(1)
        return F.cross_entropy(ours(at), torch.arange(3))

    torch.manual_seed(1)
    along = float((step(ours, images) * direction).sum())
    numeric = (loss(images + 1e-6 * direction) - loss(images - 1e-6 * direction)).item() / 2e-6
    assert along == pytest.approx(numeric, rel=1e-5)
    torch.manual_seed(2)
    assert F.cross_entropy(ours(images), torch.arange(3)).item() != loss(images).item()


def test_in_bfloat16_it_is_as_near_to_single_precision_as_the_plain_path() -> None:
    plain, ours = (model.float() for model in pair(BC))
    images = images_for(BC).float()
    exact = step(copy.deepcopy(plain), images)
    far = []
    for model in (plain, ours):
        with torch.autocast("cpu", torch.bfloat16):
            far.append((step(model, images) - exact).norm() / exact.norm())
    assert 1e-4 < far[1] < 1.2 * far[0]


def test_maps_that_hardly_vary_around_a_large_mean_keep_their_gradients() -> None:
    plain, ours = pair(BC)
    images = images_for(BC)
    for model in (plain, ours):
        model.features.conv0.weight.data.abs_()
    exact = step(plain, images + 100)
    single = step(ours.float(), (images + 100).float())
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=2e-3 * float(exact.abs().max()))


@pytest.mark.slow
def test_losses_are_those_of_torchvision_over_20_steps() -> None:
    torch.manual_seed(0)
    theirs = TorchvisionDenseNet(12, (4, 4, 4), 24, num_classes=10)
    for part in ("norm0", "relu0", "pool0"):  # the stem for small images
        setattr(theirs.features, part, nn.Identity())
    theirs.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    ours = DenseNet(DenseNetSpec((4, 4, 4), 12, 24), memory_efficient=True)
    ours.load_state_dict(theirs.state_dict())
    images, labels = torch.randn(20 * 8, 3, 8, 8).double(), torch.randint(10, (20 * 8,))
    losses: list[list[float]] = []
    for model in (theirs, ours):
        optimizer = torch.optim.SGD(model.double().train().parameters(), lr=0.1, momentum=0.9, nesterov=True)
        losses.append([])
        for i in range(20):
            batch = slice(8 * i, 8 * i + 8)
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_it_keeps_what_the_formula_says(spec: DenseNetSpec) -> None:
    if spec.spatial_dims != 2:
        pytest.skip("the formula's images are square")
    model = DenseNet(spec, memory_efficient=True).train()
    size = 64 if spec.stem == "imagenet" else 16
    kept = training_activation_bytes(spec, size, 2, memory_efficient=True)
    assert kept_by_autograd(model, torch.randn(2, 3, size, size)) == kept


def test_kept_memory_grows_linearly_with_depth() -> None:
    def kept(layers: int, memory_efficient: bool) -> int:
        spec = DenseNetSpec((layers,), 4, 8, bottleneck=False)
        return kept_by_autograd(DenseNet(spec, memory_efficient).train(), torch.randn(1, 3, 8, 8))

    linear = [kept(n, True) for n in (10, 20, 40)]
    square = [kept(n, False) for n in (10, 20, 40)]
    assert (linear[2] - linear[1]) / (linear[1] - linear[0]) == pytest.approx(2, rel=0.01)
    assert (square[2] - square[1]) / (square[1] - square[0]) > 3


def is_shared(model: DenseNet, images: Tensor) -> bool:
    """Whether the blocks ran without concatenations."""
    return model.features[:2](images).grad_fn.name() == "DenseBlockFunctionBackward"


def test_it_is_used_where_it_was_asked_for_and_gradients_are_wanted() -> None:
    images = torch.randn(2, 3, 8, 8)
    model = DenseNet(BC, memory_efficient=True)
    assert is_shared(model.train(), images)
    assert is_shared(model.eval(), images)
    assert not is_shared(DenseNet(BC).train(), images)
    with torch.no_grad():
        assert model.train().features[:2](images).grad_fn is None


def test_hooks_and_other_modules_see_what_they_saw() -> None:
    images = torch.randn(2, 3, 8, 8)
    for part in ("denseblock1.denselayer2", "denseblock1.denselayer2.conv1", "transition1.pool", "transition1.norm"):
        model, seen = DenseNet(BC, memory_efficient=True).train(), []
        model.features.get_submodule(part).register_forward_hook(lambda *_, seen=seen: seen.append(1))
        model(images)
        assert seen, part
    model = DenseNet(BC, memory_efficient=True).train()
    model.features.denseblock1.denselayer1.norm1 = nn.GroupNorm(2, 8)
    assert not is_shared(model, images)


def test_functional_gradients_are_those_of_the_plain_path() -> None:
    model, images = DenseNet(BC, memory_efficient=True).eval(), torch.randn(2, 3, 8, 8)
    gradients = torch.func.grad(
        lambda x: torch.func.functional_call(model, dict(model.named_parameters()), x).square().sum()
    )
    expected = images.clone().requires_grad_()
    model(expected).square().sum().backward()
    torch.testing.assert_close(gradients(images), expected.grad)


def test_second_derivatives_are_refused_with_the_way_out() -> None:
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    for efficient, refused in ((True, True), (False, False)):
        loss = DenseNet(BC, memory_efficient=efficient).train()(images).square().sum()
        if refused:
            with pytest.raises(RuntimeError, match=r"need a network with memory_efficient=False"):
                torch.autograd.grad(loss, images, create_graph=True)
        else:
            assert torch.autograd.grad(loss, images, create_graph=True)[0].requires_grad


def test_what_batch_norm_refuses_is_refused() -> None:
    model = DenseNet(DenseNetSpec((2,), 4, 8), memory_efficient=True).train()
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        model(torch.randn(1, 3, 1, 1))


def test_a_network_can_be_made_so_by_its_name() -> None:
    assert create_model("densenet-40-12", memory_efficient=True).features.denseblock1.memory_efficient
    with pytest.raises(
        ValueError, match="memory_efficient=True is only supported for DenseNets, and ResNet-20 is not one"
    ):
        create_model("resnet-20", memory_efficient=True)
