"""Weights without torch: arrays, and the shapes that follow from a spec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from densenet_core import Checkpoint, DenseNet, DenseNetSpec, load_checkpoint, save_checkpoint
from densenet_core.arrays import as_array, as_tensor


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


@pytest.mark.slow
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


def test_checkpoints_hold_plain_tensors(tmp_path: Path) -> None:
    model = DenseNet(DenseNetSpec((2, 2), 4, 8))
    save_checkpoint(Checkpoint(model.spec, model.state_dict()), tmp_path / "a.safetensors")
    state = load_checkpoint(tmp_path / "a.safetensors").state_dict
    assert type(state) is dict
    torch.save(state, tmp_path / "b.pth")
    for key, tensor in torch.load(tmp_path / "b.pth", weights_only=True).items():
        assert torch.equal(tensor, model.state_dict()[key])
