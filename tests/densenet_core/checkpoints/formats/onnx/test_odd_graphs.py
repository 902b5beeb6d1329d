"""ONNX graphs with shapes, weights and nodes that no exporter means to write: read, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densenet_core import CheckpointError, load_checkpoint
from densenet_core.checkpoints.formats.limits import MAX_PARTS
from densenet_core.checkpoints.identify.connectivity import ConcatSpec

onnx = pytest.importorskip("onnx")
FLOAT = onnx.TensorProto.FLOAT
node = onnx.helper.make_node


def weight(name: str, *shape: int) -> Any:
    return onnx.numpy_helper.from_array(np.full(shape, 0.1, "f4"), name)


def network() -> Any:
    """Two layers that concatenate, and a third that reads them."""
    nodes = [
        node("Conv", ["x", "w0"], ["a"], pads=[1] * 4),
        node("Concat", ["x", "a"], ["b"], axis=1),
        node("Conv", ["b", "w1"], ["c"], pads=[1] * 4),
        node("Concat", ["b", "c"], ["d"], axis=1),
        node("Conv", ["d", "w2"], ["e"]),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in (("x", [1, 3, 8, 8]), ("e", None))
    ]
    weights = [weight("w0", 4, 3, 3, 3), weight("w1", 4, 7, 3, 3), weight("w2", 4, 11, 1, 1)]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights))


def values_of_unknown_rank(model: Any) -> None:
    model.graph.value_info.extend(onnx.helper.make_tensor_value_info(name, FLOAT, None) for name in "abcd")


def a_batch_of_minus_one(model: Any) -> None:
    for place in (0, 2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = -1


def an_opset_of_a_billion(model: Any) -> None:
    model.opset_import[0].version = 10**9


def an_image_of_2_to_the_62_pixels(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**62


def a_resize_to_billions(model: Any) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 3, 10**9, 10**9]), "s"))
    model.graph.node.insert(0, node("Resize", ["x", "", "", "s"], ["r"]))


def an_if_in_an_if(model: Any) -> None:
    end = onnx.helper.make_tensor_value_info("y", FLOAT, None)
    inner = onnx.helper.make_graph([node("Relu", ["x"], ["y"])], "s", [], [end])
    for _ in range(20):
        inner = onnx.helper.make_graph([node("If", ["x"], ["y"], then_branch=inner)], "s", [], [end])
    model.graph.node.append(node("If", ["x"], ["y"], then_branch=inner))


def a_function_that_calls_itself(model: Any) -> None:
    own = node("F", ["a"], ["b"], domain="f")
    model.functions.append(onnx.helper.make_function("f", "F", ["a"], ["b"], [own], [onnx.helper.make_opsetid("f", 1)]))
    model.graph.node.append(node("F", ["e"], ["y"], domain="f"))


def weights_named_alike(model: Any) -> None:
    model.graph.initializer.extend([weight("w0", 4, 3, 3, 3)] * 100)


def without_channels(model: Any) -> None:
    model.graph.initializer[0].CopyFrom(weight("w0", 0, 3, 3, 3))


def a_negative_side(model: Any) -> None:
    model.graph.initializer[0].dims[0] = -4


def channels_below_zero(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -3


def sparse_weights(model: Any) -> None:
    sparse = model.graph.sparse_initializer.add(dims=[4, 3, 3, 3])
    sparse.values.CopyFrom(weight("w0", 2))
    del model.graph.initializer[0]


def a_node_that_feeds_itself(model: Any) -> None:
    model.graph.node.insert(0, node("Conv", ["z", "w0"], ["a"]))
    model.graph.node.insert(1, node("Concat", ["x", "a"], ["z"], axis=1))


def groups_in_words(model: Any) -> None:
    model.graph.node[0].CopyFrom(node("Conv", ["x", "w0"], ["a"], group="x"))


def thousands_of_files(model: Any) -> None:
    for number in range(MAX_PARTS + 1):
        model.graph.initializer.add(name=f"q{number}", data_type=FLOAT, dims=[1])
        model.graph.initializer[-1].data_location = onnx.TensorProto.EXTERNAL
        model.graph.initializer[-1].external_data.add(key="location", value=f"{number}.bin")


def beyond_the_end_of_another_file(model: Any) -> None:
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "1000000")):
        model.graph.initializer[0].external_data.add(key=key, value=value)


def told_at_length(model: Any) -> None:
    beyond_the_end_of_another_file(model)
    model.graph.initializer[0].external_data[1].value = "9" * 3000


def told_in_words(model: Any) -> None:
    beyond_the_end_of_another_file(model)
    model.graph.initializer[0].external_data[1].value = "-8"


def more_scales_than_outputs(model: Any) -> None:
    arrays = {"q": np.ones((1, 3, 100, 1), "i1"), "s": np.ones(100_000, "f4")}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    model.graph.node.insert(0, node("DequantizeLinear", ["q", "s"], ["dequantized"], axis=0))


READ: list[Callable[[Any], None]] = [
    values_of_unknown_rank,
    a_batch_of_minus_one,
    an_opset_of_a_billion,
    an_image_of_2_to_the_62_pixels,
    a_resize_to_billions,
    an_if_in_an_if,
    a_function_that_calls_itself,
    weights_named_alike,
]
REFUSED: dict[Callable[[Any], None], str] = {
    without_channels: "a layer of it reads or returns no channels",
    a_negative_side: r"tensor 'w0' claims shape \[-4, 3, 3, 3\]: copy or download it again",
    channels_below_zero: "no layer of the network reads concatenated feature maps|read",
    sparse_weights: "tensor 'w0' is sparse: save the network with dense weights",
    a_node_that_feeds_itself: "a layer of it reads or returns no channels",
    groups_in_words: "the ONNX graph is damaged: its nodes can't be followed",
    thousands_of_files: "its weights lie in 1,001 other files: at most 1,000 are opened",
    told_at_length: "the place of a tensor in another file is told in 3,000 characters",
    told_in_words: "the place of a tensor in another file is '-8', which is no number",
    more_scales_than_outputs: "the ONNX graph is damaged",
    beyond_the_end_of_another_file: "a tensor extends beyond its end: copy or download it again",
}


def written(change: Callable[[Any], None], folder: Path) -> Path:
    model = network()
    change(model)
    (folder / "weights.bin").write_bytes(bytes(100))
    (folder / "a.onnx").write_bytes(model.SerializeToString())
    return folder / "a.onnx"


@pytest.mark.parametrize("change", READ, ids=lambda change: change.__name__)
def test_what_does_not_change_the_layers_is_read(change: Callable[[Any], None], tmp_path: Path) -> None:
    plain, found = (load_checkpoint(written(each, tmp_path)).spec for each in (lambda model: None, change))
    assert isinstance(plain, ConcatSpec) and isinstance(found, ConcatSpec)
    assert found.targets == plain.targets
    assert [width for _, width in plain.targets[-1].runs] == [3, 4, 4]


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_the_rest_is_refused_with_the_reason(change: Callable[[Any], None], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=REFUSED[change]):
        load_checkpoint(written(change, tmp_path))
