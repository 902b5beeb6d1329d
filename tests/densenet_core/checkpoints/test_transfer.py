from __future__ import annotations

from pathlib import Path

import pytest
import torch

from densenet_core import Checkpoint, CheckpointError, create_model, save_checkpoint
from densenet_core.checkpoints.transfer import load_weights_into


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classifier"),
    [
        ("densenet-10-4", "classifier."),
        ("resnet-8", "fc."),
        ("preact-resnet-11", "fc."),
        ("dsn-resnet-8", ("network.fc.", "companions.")),
    ],
)
def test_all_but_a_classifier_for_other_classes_is_copied(
    name: str, classifier: str | tuple[str, ...], tmp_path: Path
) -> None:
    first, same, other = create_model(name), create_model(name), create_model(name, num_classes=3)
    save_checkpoint(Checkpoint(first.spec, first.state_dict()), tmp_path / "first.safetensors")
    before = {key: value.clone() for key, value in other.state_dict().items()}
    for model in (same, other):
        assert load_weights_into(model, tmp_path / "first.safetensors").spec == first.spec
    assert any(key.startswith(classifier) for key in before)
    for key, value in first.state_dict().items():
        assert torch.equal(same.state_dict()[key], value), key
        assert torch.equal(other.state_dict()[key], before[key] if key.startswith(classifier) else value), key


@pytest.mark.parametrize("name", ["densenet-10-6", "densenet-16-4", "densenet-bc-10-4", "resnet-8"])
def test_another_network_is_refused_and_nothing_is_copied(name: str, tmp_path: Path) -> None:
    first, model = create_model("densenet-10-4"), create_model(name)
    save_checkpoint(Checkpoint(first.spec, first.state_dict()), tmp_path / "first.safetensors")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"holds a DenseNet \(L=10, k=4\), and the network to train is a"):
        load_weights_into(model, tmp_path / "first.safetensors")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
