"""Networks whose weights are whole numbers with scales: torch's dynamic and static quantization."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.ao import quantization

from analysis import connection_weights
from densenet_core import CheckpointError, DenseNetSpec, checkpoint_from_state_dict, load_checkpoint
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.identify.state_dict import NOT_ROUNDED
from tests.conftest import trained_like
from tests.densenet_core.checkpoints.formats.foreign import ForeignDenseNet, trained

SPEC = DenseNetSpec((2, 2), 4, 8, num_classes=5)
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
pytestmark = pytest.mark.filterwarnings("ignore")  # that the module moves to another package

DYNAMIC: dict[str, Callable[[nn.Module], nn.Module]] = {
    "8 bits": lambda m: quantization.quantize_dynamic(m, {nn.Linear}, dtype=torch.qint8),
    "8 bits, a scale for each class": lambda m: quantization.quantize_dynamic(
        m, {nn.Linear: quantization.per_channel_dynamic_qconfig}
    ),
    "16 bits": lambda m: quantization.quantize_dynamic(m, {nn.Linear}, dtype=torch.float16),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", DYNAMIC)
def test_a_dynamically_quantized_classifier_is_computed(how: str, tmp_path: Path) -> None:
    quantized = DYNAMIC[how](trained_like(SPEC).eval())
    layer: Any = quantized.get_submodule("classifier")
    weight = layer.weight()
    expected = weight.dequantize() if weight.is_quantized else weight
    torch.save(quantized.state_dict(), tmp_path / "a.pth")
    torch.save(quantized, tmp_path / "b.pth")
    in_memory = checkpoint_from_state_dict(quantized.state_dict())
    for found in (in_memory, load_checkpoint(tmp_path / "a.pth"), load_checkpoint(tmp_path / "b.pth")):
        assert found.spec == SPEC and (NOT_ROUNDED in found.assumed) == weight.is_quantized
        torch.testing.assert_close(found.state_dict["classifier.weight"], expected, rtol=0, atol=1e-7)
        with torch.inference_mode():
            torch.testing.assert_close(found.to_model()(IMAGES), quantized(IMAGES), rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_of_a_statically_quantized_network_the_table_is_known(tmp_path: Path) -> None:
    model = trained(ForeignDenseNet())
    model.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(model)
    for part in prepared.modules():
        if isinstance(part, quantization.ObserverBase):
            part(torch.randn(9, 4))
    quantized = quantization.convert(prepared)
    torch.save(quantized.state_dict(), tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert isinstance(found.spec, ConcatSpec) and "entry.scale" in found.spec.why
    table = connection_weights(found).set_index(["block", "source_layer", "target_layer"])["mean_abs_weight"]
    for layer, unit in enumerate(quantized.stages[0], start=1):
        weight = unit.squeeze.weight().dequantize().abs()
        assert table[1, 0, layer] == pytest.approx(weight[:, :8].mean().item(), rel=1e-5)


def test_what_is_no_tensor_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"'epoch' is a int, not a tensor: give model\.state_dict\(\)"):
        checkpoint_from_state_dict({**trained_like(SPEC).state_dict(), "epoch": 3})  # type: ignore[dict-item]


class Rebuilt:
    """Pickled as a call of torch's function with any arguments."""

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_qtensor, self.args


@pytest.mark.parametrize("shape", [(0,), (999,), (3, 3)])
def test_scales_that_do_not_fit_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    state = trained_like(DenseNetSpec((2, 1), 2, 4, num_classes=3)).state_dict()
    whole = torch.quantize_per_tensor(weight := state["classifier.weight"], 0.1, 0, torch.qint8)
    quantizer = torch.per_channel_affine, torch.ones(shape), torch.zeros(shape), 0
    storage = torch.storage.TypedStorage(wrap_storage=whole.untyped_storage(), dtype=torch.qint8, _internal=True)
    state["classifier.weight"] = Rebuilt(storage, 0, tuple(weight.shape), weight.stride(), quantizer, False, {})
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(
        CheckpointError, match=r"scales of tensor 'classifier\.weight' do not fit|scales and zero points"
    ):
        load_checkpoint(tmp_path / "a.pth")


def in_8_bits(kind: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what libraries that compress checkpoints store in place of a weight: numbers of 8 bits and a scale."""
    largest = weight.abs().flatten(1).amax(1).reshape(-1, *(1,) * (weight.ndim - 1))
    if kind == "float8":
        scale = largest.max().reshape(1) / 448
        return {"weight": (weight / scale).to(torch.float8_e4m3fn), "weight_scale": scale}
    zero = torch.arange(len(weight)).reshape(largest.shape) % 9
    scale = largest / 100
    whole = ((weight / scale).round() + zero).to(torch.int8)
    if kind == "int8":
        return {"weight": whole, "weight_scale": scale, "weight_zero_point": zero.to(torch.int8)}
    return {"weight": (weight / scale).round().to(torch.int8), "weight_scale": scale.flatten()}


@pytest.mark.parametrize("kind", ["float8", "int8", "int8, symmetric"])
def test_weights_with_their_scale_beside_them_are_computed(kind: str, tmp_path: Path) -> None:
    model = trained_like(SPEC)
    state, expected = dict(model.state_dict()), model.state_dict()
    for key in [key for key, tensor in state.items() if tensor.ndim > 1]:
        parts = in_8_bits(kind, state.pop(key))
        state |= {f"{key.removesuffix('weight')}{part}": tensor.contiguous() for part, tensor in parts.items()}
    save_file(state, tmp_path / "a.safetensors")
    found = load_checkpoint(tmp_path / "a.safetensors")
    assert found.spec == SPEC and found.caveats == ()
    for key, tensor in expected.items():
        if tensor.ndim > 1:
            step = 0.07 * tensor.abs() + 0.01 * tensor.abs().max() if kind == "float8" else tensor.abs().max() / 150
            assert (found.state_dict[key] - tensor).abs().le(step).all(), key


def test_a_scale_beside_weights_of_32_bits_is_not_used() -> None:
    """As where a file holds weights that were rounded and scaled back."""
    state = trained_like(SPEC).state_dict() | {"features.conv0.weight_scale": torch.ones(1)}
    found = checkpoint_from_state_dict(state)
    assert torch.equal(found.state_dict["features.conv0.weight"], state["features.conv0.weight"])
    assert "without 'features.conv0.weight_scale', which may change them" in found.caveats[0]
