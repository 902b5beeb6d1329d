"""Networks with connections cut: the same outputs as with zeros in their place, and they load back."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from analysis.architecture.cost import count_cost, total_cost
from analysis.architecture.traced_cost import traced_cost
from analysis.reuse.connections import connection_weights
from densenet_core import Checkpoint, DenseNet, DenseNetSpec, RunError, load_checkpoint, save_checkpoint
from densenet_core.checkpoints import onnx_export
from densenet_core.checkpoints.onnx_export import export_onnx
from densenet_core.checkpoints.pruning import with_all_connections, without_connections
from densenet_core.data.datasets import load_splits
from densenet_core.data.images import TensorImages
from densenet_core.training.evaluation import evaluate_checkpoint
from densenet_core.training.finetuning import finetune
from tests.conftest import trained_like

pytestmark = pytest.mark.slow
SPECS = [
    DenseNetSpec((3, 3), 4, 8, num_classes=5),
    DenseNetSpec((3, 3), 4, 8, bottleneck=False, compression=1.0, num_classes=5),
    DenseNetSpec((3, 3, 2), 4, 8, stem="imagenet", num_classes=5),
    DenseNetSpec((3, 3), 4, 8, spatial_dims=1, num_classes=5),
]
CUTS = ((1, 0, 2), (1, 1, 3), (1, 2, 4), (2, 0, 3), (2, 1, 2), (2, 1, 4))
ids = lambda spec: f"{spec.family} {spec.stem} {spec.spatial_dims}d"  # noqa: E731


def checkpoint_of(spec: DenseNetSpec) -> Checkpoint:
    return Checkpoint(spec, trained_like(spec).state_dict(), {"seed": 0})


def some_images(spec: DenseNetSpec) -> torch.Tensor:
    size = 64 if spec.stem == "imagenet" else 16
    return torch.randn(3, 3, *(size,) * spec.spatial_dims, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("spec", SPECS, ids=ids)
def test_cutting_a_connection_equals_zeroing_it(spec: DenseNetSpec) -> None:
    pruned = without_connections(checkpoint_of(spec), CUTS)
    model, whole = pruned.to_model(), with_all_connections(pruned)
    assert whole.spec == spec
    original = checkpoint_of(spec).state_dict
    painted = {key: tensor.clone() for key, tensor in original.items()}
    painted["features.denseblock1.denselayer2.conv1.weight"][:, :8] = 0
    painted["features.denseblock1.denselayer3.conv1.weight"][:, 8:12] = 0
    painted["features.transition1.conv.weight"][:, 12:16] = 0
    width = spec.block_inputs[1]
    painted["features.denseblock2.denselayer3.conv1.weight"][:, :width] = 0
    painted["features.denseblock2.denselayer2.conv1.weight"][:, width : width + 4] = 0
    behind = "classifier.weight" if len(spec.block_config) == 2 else "features.transition2.conv.weight"
    painted[behind][:, width : width + 4] = 0
    with torch.inference_mode():
        expected = Checkpoint(spec, painted).to_model()(some_images(spec))
        torch.testing.assert_close(model(some_images(spec)), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(whole.to_model()(some_images(spec)), expected, rtol=1e-4, atol=1e-5)
        plain = Checkpoint(spec, original).to_model()(some_images(spec))
    assert (plain - expected).abs().max() > 1e-3
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in DenseNet(spec).parameters())


@pytest.mark.parametrize("spec", SPECS[:3], ids=ids)
def test_its_cost_by_arithmetic_is_its_modules(spec: DenseNetSpec) -> None:
    pruned = without_connections(checkpoint_of(spec), CUTS)
    model = pruned.to_model()
    counted = total_cost(count_cost(pruned.spec, 64))
    assert counted["params"] == sum(p.numel() for p in model.parameters()) == pruned.num_params
    assert counted["mult_adds"] == total_cost(traced_cost(model, 64))["mult_adds"]


@pytest.mark.parametrize("spec", SPECS, ids=ids)
def test_it_loads_back(spec: DenseNetSpec, tmp_path: Path) -> None:
    pruned = without_connections(checkpoint_of(spec), CUTS)
    save_checkpoint(pruned, tmp_path / "small.safetensors")
    found = load_checkpoint(tmp_path / "small.safetensors")
    assert found.spec == pruned.spec
    assert found.spec.cuts == tuple(sorted(CUTS))
    with torch.inference_mode():
        assert torch.equal(found.to_model()(some_images(spec)), pruned.to_model()(some_images(spec)))


def test_cutting_nothing_changes_nothing_and_cutting_twice_adds_up() -> None:
    checkpoint = checkpoint_of(SPECS[0])
    none = without_connections(checkpoint, ())
    assert none.spec == checkpoint.spec
    assert all(torch.equal(tensor, checkpoint.state_dict[key]) for key, tensor in none.state_dict.items())
    twice = without_connections(without_connections(checkpoint, CUTS[:2]), CUTS[2:])
    once = without_connections(checkpoint, CUTS)
    assert twice.spec == once.spec
    assert all(torch.equal(tensor, once.state_dict[key]) for key, tensor in twice.state_dict.items())


def test_its_feature_reuse_is_the_whole_networks_with_zeros() -> None:
    pruned = without_connections(checkpoint_of(SPECS[0]), CUTS)
    for network in (pruned, pruned.to_model()):
        table = connection_weights(network).set_index(["block", "source_layer", "target_layer"])
        weights = table["mean_abs_weight"]
        assert [weights[cut] for cut in CUTS] == [0] * 6
        others = connection_weights(checkpoint_of(SPECS[0])).set_index(table.index.names)["mean_abs_weight"]
        assert weights.drop(list(CUTS)).tolist() == pytest.approx(others.drop(list(CUTS)).tolist())


def test_memory_efficient_training_of_a_cut_network() -> None:
    spec = replace(SPECS[0], cuts=CUTS)
    gradients = []
    for efficient in (False, True):
        torch.manual_seed(0)
        model = DenseNet(spec, memory_efficient=efficient).double().train()
        model(some_images(spec).double()).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, other in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        (((1, 3, 3),), r"cuts contain \(1, 3, 3\), which is no connection"),
        (((3, 0, 1),), r"cuts contain \(3, 0, 1\), which is no connection"),
        (((1, 0, 1),), "cuts leave layer 1 of block 1 without a source"),
    ],
)
def test_wrong_cuts_are_named(cuts: tuple[tuple[int, int, int], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        without_connections(checkpoint_of(SPECS[0]), cuts)


def test_finetuning_takes_the_cut_network_further() -> None:
    splits = load_splits("digits")
    spec = DenseNetSpec((2, 2), 4, 8, in_channels=1)
    torch.manual_seed(0)
    start = Checkpoint(spec, {key: t.detach() for key, t in DenseNet(spec).state_dict().items()})
    tuned = finetune(without_connections(start, CUTS[:1]), splits, epochs=5, learning_rate=0.1)
    assert tuned.spec.cuts == CUTS[:1]
    assert tuned.record["test_error"] < 50  # chance is 90 %
    assert tuned.record["finetuned"] == {"epochs": 5, "learning_rate": 0.1, "seed": 0, "data": "Digits (8x8)"}


def test_onnx_export_has_the_same_scores_and_evaluates_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pruned = without_connections(checkpoint_of(SPECS[0]), CUTS)
    assert export_onnx(pruned, tmp_path / "small.onnx", input_size=16) < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx")
    images = some_images(SPECS[0])[:2]  # another number of images than it was written with
    with torch.inference_mode():
        expected = pruned.to_model()(images)
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), expected)
    with pytest.raises(ValueError, match=r"'small.pt' does not end in \.onnx"):
        export_onnx(pruned, tmp_path / "small.pt", input_size=16)
    content = (tmp_path / "small.onnx").read_bytes()
    monkeypatch.setattr(onnx_export, "to_onnx", lambda model, images: content)  # an export takes seconds
    pixels = torch.randint(256, (70, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    labelled = TensorImages(pixels, torch.arange(70) % SPECS[0].num_classes, tuple("abcde"), "none")
    torchs, onnxs = (evaluate_checkpoint(pruned, labelled, backend) for backend in ("torch", "onnxruntime"))
    assert onnxs == replace(torchs, loss=onnxs.loss)  # the errors to the image
    assert onnxs.loss == pytest.approx(torchs.loss, abs=1e-5)
    with pytest.raises(ValueError, match="backend 'tvm' is unknown: choose torch or onnxruntime"):
        evaluate_checkpoint(pruned, labelled, "tvm")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RunError, match=r"onnxruntime is not installed: pip install 'densenet-lens\[onnx\]'"):
        evaluate_checkpoint(pruned, labelled, "onnxruntime")
