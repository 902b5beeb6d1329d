from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from densenet_core import (
    Checkpoint,
    CheckpointError,
    ResNet,
    ResNetSpec,
    checkpoint_from_state_dict,
    create_model,
    load_checkpoint,
    save_checkpoint,
)
from densenet_core.data.image_folders import load_folder
from densenet_core.networks.build import build_model
from densenet_core.networks.names import spec_from_name
from densenet_core.training.evaluation import evaluate
from tests.conftest import shared_file

# by arithmetic; the papers print 0.27M, 0.46M, 0.66M, 0.85M, 1.7M, 19.4M, 1.7M, 10.2M, 2.7M, 11.0M, 36.5M
PARAMS = {
    "resnet-20": 269_722,
    "resnet-32": 464_154,
    "resnet-44": 658_586,
    "resnet-56": 853_018,
    "resnet-110": 1_727_962,
    "resnet-1202": 19_421_274,
    "preact-resnet-164": 1_703_258,
    "preact-resnet-1001": 10_327_706,
    "wrn-16-4": 2_748_890,
    "wrn-16-8": 10_961_370,
    "wrn-28-10": 36_479_194,
}
IMAGENET_PARAMS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "params"), [*PARAMS.items(), *IMAGENET_PARAMS.items()])
def test_parameter_counts_are_the_papers(name: str, params: int) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=1000 if name in IMAGENET_PARAMS else 10)
    assert sum(p.numel() for p in model.parameters()) == params


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_torchvision_state_dicts_load_unchanged_with_equal_outputs(name: str) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, num_classes=7).eval()
    ours = checkpoint_from_state_dict(theirs.state_dict()).to_model()
    assert ours.spec == spec_from_name(name, num_classes=7)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


def varied(model: nn.Module) -> nn.Module:
    """Batch norms that differ from channel to channel, so that a norm in the wrong place shows."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.uniform_(0.5, 1.5)
    return model.eval()


def naive_preactivation(model: ResNet, x: torch.Tensor) -> torch.Tensor:
    """He et al. 2016b, Figure 1(b): x + F, F of BN-ReLU-conv; projections read the first BN-ReLU."""
    x = model.conv1(x)
    for stage in (model.layer1, model.layer2, model.layer3):
        for block in stage:
            names = [n for n in ("1", "2", "3") if hasattr(block, f"conv{n}")]
            first = torch.relu(block.bn1(x))
            residual = block.conv1(first)
            for n in names[1:]:
                residual = getattr(block, f"conv{n}")(torch.relu(getattr(block, f"bn{n}")(residual)))
            if isinstance(block.downsample, nn.Sequential):
                x = block.downsample[0](first)
            elif block.downsample is not None:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, x.shape[1] // 2, x.shape[1] // 2))
            x = x + residual
    return model.fc(torch.relu(model.bn(x)).mean((2, 3)))


@pytest.mark.parametrize("name", ["preact-resnet-20", "preact-resnet-29", "wrn-10-2"])
def test_preactivation_is_the_papers(name: str) -> None:
    model = varied(create_model(name))
    x = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), naive_preactivation(model, x), rtol=1e-4, atol=1e-4)


def test_the_identity_shortcut_takes_every_second_pixel_and_fills_with_zeros() -> None:
    block = create_model("resnet-20").layer2[0]
    x = torch.randn(1, 16, 8, 8)
    out = block.downsample(x)
    assert out.shape == (1, 32, 4, 4)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert out[:, :8].abs().sum() == out[:, 24:].abs().sum() == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet-20", "preact-resnet-20", "preact-resnet-29", "wrn-10-2", "resnet18"])
def test_spec_is_inferred_and_round_trip_is_exact(name: str, tmp_path: Path) -> None:
    model = varied(create_model(name, num_classes=5))
    found = checkpoint_from_state_dict(model.state_dict())
    assert found.spec == model.spec
    save_checkpoint(Checkpoint(model.spec, model.state_dict(), {"seed": 1}), tmp_path / "net.safetensors")
    loaded = load_checkpoint(tmp_path / "net.safetensors")
    assert (loaded.spec, loaded.record) == (model.spec, {"seed": 1})
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.to_model()(x), model(x))


@pytest.mark.slow
def test_layouts_of_cifar_repositories(tmp_path: Path) -> None:
    spec = ResNetSpec((2, 2, 2, 2), num_init_features=64)  # the ResNet-18 for CIFAR that people pass around
    model = build_model(spec)
    renamed = {
        "module." + key.replace("downsample", "shortcut").replace("fc.", "linear."): tensor
        for key, tensor in model.state_dict().items()
    }
    torch.save({"net": renamed, "acc": 95.1, "epoch": 199}, tmp_path / "ckpt.pth")
    found = load_checkpoint(tmp_path / "ckpt.pth")
    assert found.spec == spec
    assert all(torch.equal(found.state_dict[key], tensor) for key, tensor in model.state_dict().items())


def test_a_resnet20_that_others_trained() -> None:
    found = load_checkpoint(shared_file("checkpoints/resnet20_cifar10.th"))
    assert found.spec == ResNetSpec.cifar(20)
    assert found.num_params == 269_722


@pytest.mark.slow
def test_others_networks_err_rarely_on_cifar10_images(tmp_path: Path) -> None:
    """Every layer went to its place: chance is 90 %. The images are JPEG files, not the pixels they trained on."""
    import tarfile

    archive = shared_file("data/cifar10-jpeg.tar.gz")
    with tarfile.open(archive) as tar:
        images = (member for member in tar if "/test/" in f"/{member.name}" and member.isfile())
        for member in islice(images, 0, 10_000, 100):  # all test images; the training images behind them are not read
            tar.extract(member, tmp_path, filter="data")
    folder = next(path for path in tmp_path.rglob("test") if path.is_dir())
    for file, statistics in (("densenet_bc_100_12_cifar10.pth.tar", "cifar10"), ("resnet20_cifar10.th", "imagenet")):
        model = load_checkpoint(shared_file(f"checkpoints/{file}")).to_model()
        result = evaluate(model, load_folder(folder, statistics))
        assert result.num_images == 100
        assert result.top1_error < 25, file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet-21", "depth 21 is not 6*n+2: the nearest are 20 and 26"),
        ("wrn-17-8", "depth 17 is not 6*n+4: the nearest are 16 and 22"),
        ("resnet19", "the nearest are resnet1"),
    ],
)
def test_a_depth_that_no_resnet_has(name: str, message: str) -> None:
    import re

    with pytest.raises(ValueError, match=re.escape(message)):
        create_model(name)


def test_a_missing_block_is_named() -> None:
    state = {key: t for key, t in create_model("resnet-20").state_dict().items() if "layer2.1." not in key}
    with pytest.raises(CheckpointError, match="block 1 of layer2 is missing"):
        checkpoint_from_state_dict(state)


def test_dropout_is_for_wide_resnets() -> None:
    assert create_model("wrn-10-2", drop_rate=0.3).spec.drop_rate == 0.3
    with pytest.raises(ValueError, match=r"drop_rate 0\.3 is only supported for DenseNets and Wide ResNets"):
        create_model("resnet-20", drop_rate=0.3)
