"""ONNX files, as PyTorch's exporters write them: the network is read from the graph, with parts folded and renamed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from analysis import connection_weights
from densenet_core import Checkpoint, CheckpointError, DenseNetSpec, load_checkpoint
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.onnx_export import export_onnx
from tests.conftest import trained_like
from tests.densenet_core.checkpoints.formats.foreign import ForeignDenseNet, trained
from tests.densenet_core.checkpoints.identify.shapes.test_by_shape import EVEN, assert_same_reuse
from tests.densenet_core.checkpoints.test_trace import Nested

onnx = pytest.importorskip("onnx")
SPECS = [
    DenseNetSpec((2, 3), 4, 8, num_classes=5),
    DenseNetSpec((2, 1), 3, 6, num_classes=5, bottleneck=False, compression=1.0),
    DenseNetSpec((2, 2), 4, 8, num_classes=5, stem="imagenet"),
]


def written(model: nn.Module, file: Path, shape: Sequence[int], folding: bool = True) -> Path:
    """By the exporter that most of the world's files come from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mode = torch.onnx.TrainingMode.EVAL if folding else torch.onnx.TrainingMode.PRESERVE
        images = torch.randn(*shape)
        torch.onnx.export(model.eval(), (images,), file, dynamo=False, training=mode, do_constant_folding=folding)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("folding", [True, False])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.title + spec.stem)
def test_what_an_exporter_folded_is_the_same_function(spec: DenseNetSpec, folding: bool, tmp_path: Path) -> None:
    model = trained_like(spec)
    found = load_checkpoint(written(model, tmp_path / "a.onnx", (1, 3, 32, 32), folding))
    assert (found.spec, found.layout, found.order) == (spec, "graph", "old_first")
    has_folded = folding and (spec.bottleneck or spec.stem == "imagenet")
    assert ("hold the scale of a batch norm" in " ".join(found.caveats)) == has_folded
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_our_own_export_comes_back(tmp_path: Path) -> None:
    variants = {"stem": "imagenet", "stem_widths": (5, 6), "transition_widths": (9, 16), "head_widths": (7,)}
    spec = DenseNetSpec((2, 2, 1), 4, 8, num_classes=5, **variants)
    model = trained_like(spec)
    export_onnx(Checkpoint(spec, model.state_dict()), tmp_path / "a.onnx", 32)
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        found = load_checkpoint(tmp_path / "a.onnx")
        assert found.spec == spec
        torch.testing.assert_close(found.to_model()(images), model(images), rtol=1e-4, atol=1e-5)


def test_new_feature_maps_first_is_seen_in_the_graph(tmp_path: Path) -> None:
    model = trained(ForeignDenseNet(new_first=True))
    found = load_checkpoint(written(model, tmp_path / "a.onnx", (1, 3, 16, 16)))
    assert (found.spec, found.order) == (DenseNetSpec((3, 2), 4, 8, num_classes=5), "new_first")
    images = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"gated": True}, {"heads": 2}, {"groups": 2}, {"bias": True, "new_first": True}])
def test_of_odd_networks_the_table_is_known(options: dict[str, int], tmp_path: Path) -> None:
    model = trained(ForeignDenseNet(**options))
    found = load_checkpoint(written(model, tmp_path / "a.onnx", (1, 3, 16, 16), folding=False))
    assert isinstance(found.spec, ConcatSpec)
    assert_same_reuse(connection_weights(found), model, EVEN)
    with pytest.raises(CheckpointError, match="only the feature reuse is known"):
        found.to_model()


def test_a_nested_u_net_is_the_same_as_followed_live(tmp_path: Path) -> None:
    model = Nested()
    live = connection_weights(model, input_shape=(1, 3, 16, 16))
    read = connection_weights(load_checkpoint(written(model, tmp_path / "a.onnx", (1, 3, 16, 16))))
    assert len(live) == 7
    for column in ("block", "source_layer", "target_layer", "target_kind", "num_channels", "mean_abs_weight"):
        assert live[column].tolist() == read[column].tolist()


def graph(file: Path, **tensor: object) -> Path:
    weight = onnx.numpy_helper.from_array(np.zeros((4, 3, 1, 1), np.float32), "w")
    for name, value in tensor.items():
        setattr(weight, name, value) if not isinstance(value, list) else getattr(weight, name).extend(value)
    value = onnx.helper.make_tensor_value_info
    nodes = [onnx.helper.make_node("Conv", ["x", "w"], ["y"])]
    inputs = [value("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])]
    outputs = [value("y", onnx.TensorProto.FLOAT, [1, 4, 8, 8])]
    made = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", inputs, outputs, [weight]))
    file.write_bytes(made.SerializeToString())
    return file


REFUSED = {
    "nothing concatenated": ({}, "no layer of the network reads concatenated feature maps"),
    "weights elsewhere": ({"data_location": 1}, "its weights lie in another file, '\\?', which is not beside it"),
    "a lying shape": ({"dims": [2**40]}, "tensor 'w' claims shape"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_read_is_refused(what: str, tmp_path: Path) -> None:
    tensor, message = REFUSED[what]
    with pytest.raises(CheckpointError, match=rf"a\.onnx: .*{message}"):
        load_checkpoint(graph(tmp_path / "a.onnx", **tensor))


def test_noise_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07" + bytes(range(256)))
    with pytest.raises(CheckpointError, match=r"a\.onnx: "):
        load_checkpoint(tmp_path / "a.onnx")
