"""Weights without torch: arrays, and the shapes that a spec tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from densenet_core import Checkpoint, DenseNet, DenseNetSpec, ResNetSpec, load_checkpoint, save_checkpoint
from densenet_core.arrays import as_array, as_tensor
from densenet_core.networks.build import build_model
from densenet_core.networks.names import MODEL_NAMES, Spec, spec_from_name
from densenet_core.networks.tensor_shapes import tensor_shapes

SPECS = [
    *(spec_from_name(name) for name in MODEL_NAMES if "1202" not in name and "1001" not in name),
    DenseNetSpec((3, 2), 4, 8, spatial_dims=3, in_channels=1, stem="imagenet", bn_size=2),
    DenseNetSpec((2,), 3, 5, spatial_dims=1, bottleneck=False, compression=1.0),
    DenseNetSpec((3, 2), 4, 8, cuts=((1, 0, 2), (1, 3, 4), (2, 1, 3))),
    ResNetSpec.cifar(20),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.title)
def test_shapes_are_those_of_the_network(spec: Spec) -> None:
    with torch.device("meta"):
        expected = {key: tuple(tensor.shape) for key, tensor in build_model(spec).state_dict().items()}
    shapes = tensor_shapes(spec)
    assert shapes == expected
    assert list(shapes) == list(expected)


def test_an_array_and_its_tensor_share_their_memory() -> None:
    tensor = torch.zeros(2, 3)
    array = as_array(tensor)
    array[0, 0] = 1
    assert tensor[0, 0] == 1
    as_tensor(array)[0, 1] = 2
    assert tensor[0, 1] == 2
    assert as_array(array) is array
    assert as_tensor(tensor) is tensor


def test_arrays_that_can_not_be_shared_are_copied() -> None:
    turned = np.arange(6.0).reshape(2, 3)[:, ::-1]
    assert torch.equal(as_tensor(turned), torch.tensor([[2.0, 1, 0], [5, 4, 3]]).double())
    fixed = np.zeros(3)
    fixed.flags.writeable = False
    as_tensor(fixed)[0] = 1
    assert fixed[0] == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float16])
@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_numbers_that_numpy_does_not_have_become_single_precision(
    dtype: torch.dtype, ending: str, tmp_path: Path
) -> None:
    model, file = DenseNet(DenseNetSpec((2, 2), 4, 8)), tmp_path / f"a.{ending}"
    state = {
        key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in model.state_dict().items()
    }
    save_file(state, file) if ending == "safetensors" else torch.save(state, file)
    checkpoint = load_checkpoint(file)
    key = "features.denseblock1.denselayer1.conv1.weight"
    assert checkpoint.arrays[key].dtype == (np.float16 if dtype == torch.float16 else np.float32)
    assert np.array_equal(checkpoint.arrays[key], state[key].float().numpy())
    checkpoint.to_model()


def test_a_checkpoint_gives_plain_tensors(tmp_path: Path) -> None:
    model = DenseNet(DenseNetSpec((2, 2), 4, 8))
    save_checkpoint(Checkpoint(model.spec, model.state_dict()), tmp_path / "a.safetensors")
    state = load_checkpoint(tmp_path / "a.safetensors").state_dict
    assert type(state) is dict
    torch.save(state, tmp_path / "b.pth")
    for key, tensor in torch.load(tmp_path / "b.pth", weights_only=True).items():
        assert torch.equal(tensor, model.state_dict()[key])
