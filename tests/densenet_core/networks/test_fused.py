"""The fused network has the scores of the plain one."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from densenet_core import DenseNet, DenseNetSpec, load_checkpoint, load_zoo, zoo_names
from densenet_core.networks import fused
from densenet_core.networks.fused import fuse
from tests.conftest import shared_file


def lively(spec: DenseNetSpec, size: int) -> DenseNet:
    """A network with the running statistics of real passes."""
    torch.manual_seed(0)
    model = DenseNet(spec).train()
    with torch.no_grad():
        for _ in range(8):
            model(torch.randn(8, spec.in_channels, *(size,) * spec.spatial_dims) + 0.5)
        norms = [module for module in model.modules() if hasattr(module, "running_var")]
        norms[len(norms) // 2].weight[::3] *= -1  # an upper bound instead of a lower one
        norms[-1].weight[0] = 0  # can't be divided by
    return model.eval()


specs = st.builds(
    DenseNetSpec,
    block_config=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    growth_rate=st.integers(1, 12),
    num_init_features=st.integers(2, 24),
    bottleneck=st.booleans(),
    compression=st.sampled_from((0.5, 0.7, 1.0)),
    num_classes=st.integers(1, 7),
    stem=st.sampled_from(("cifar", "imagenet")),
    in_channels=st.integers(1, 3),
    bn_size=st.integers(1, 4),
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True)
@given(spec=specs, batch=st.integers(1, 9), size=st.integers(17, 45))
def test_fused_scores_are_the_plain_ones(spec: DenseNetSpec, batch: int, size: int) -> None:
    size = size if spec.stem == "cifar" else size + 30
    model = lively(spec, size)
    images = torch.randn(batch, spec.in_channels, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(fuse(model)(images), model(images), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        DenseNetSpec((3, 2), 4, 8, spatial_dims=1),
        DenseNetSpec((2, 2), 4, 8, spatial_dims=3, stem="imagenet"),
        DenseNetSpec((3, 3), 4, 8, cuts=((1, 0, 2), (1, 1, 3), (1, 2, 4), (2, 0, 3), (2, 1, 4))),
    ],
    ids=["1d", "3d", "cuts"],
)
def test_other_dimensions_and_cut_networks(spec: DenseNetSpec) -> None:
    size = {1: 33, 2: 18, 3: 32}[spec.spatial_dims]
    model = lively(spec, size)
    images = torch.randn(3, 3, *(size,) * spec.spatial_dims)
    with torch.inference_mode():
        torch.testing.assert_close(fuse(model)(images), model(images), rtol=0, atol=1e-5)


def test_parts_of_a_batch_that_do_not_divide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = lively(DenseNetSpec((3, 2), 4, 8), 16), torch.randn(7, 3, 16, 16)
    whole = fuse(model)(images)
    for size in (1, 20_000, 50_000):
        monkeypatch.setattr(fused, "MAX_BUFFER_BYTES", size)
        torch.testing.assert_close(fuse(model)(images), whole, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo_names())
def test_networks_of_the_zoo(name: str) -> None:
    model = load_zoo(name).to_model()
    images = torch.randn(5, model.spec.in_channels, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(fuse(model)(images), model(images), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_network_that_others_trained() -> None:
    model = load_checkpoint(shared_file("checkpoints/densenet_bc_100_12_cifar10.pth.tar")).to_model()
    images = torch.randn(5, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(fuse(model)(images), model(images), rtol=0, atol=1e-5)


def test_bf16_is_as_near_to_fp32_as_the_plain_network_in_bf16() -> None:
    model, images = lively(DenseNetSpec((4, 4), 8, 16), 16), torch.randn(16, 3, 16, 16)
    with torch.inference_mode():
        exact = model(images)
        fused = (fuse(model).bfloat16()(images.bfloat16()).float() - exact).abs().max()
        plain = (model.bfloat16()(images.bfloat16()).float() - exact).abs().max()
    assert fused < 2 * plain + 1e-2


def test_it_pickles_and_leaves_the_network_alone() -> None:
    model, images = lively(DenseNetSpec((3, 2), 4, 8), 16), torch.randn(2, 3, 16, 16)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    fused = fuse(model)
    again = pickle.loads(pickle.dumps(fused))
    assert torch.equal(again(images), fused(images))
    assert not fused(images).requires_grad
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    with torch.no_grad():
        model.classifier.weight.zero_()
    assert torch.equal(again(images), fused(images))
