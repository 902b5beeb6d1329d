"""ONNX graphs as other exporters than PyTorch's write them, run by onnxruntime for comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis import connection_weights
from densenet_core import Checkpoint, CheckpointError, load_checkpoint

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
node, FLOAT = onnx.helper.make_node, onnx.TensorProto.FLOAT
IMAGES = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype("f4")
K = 4


def attribute(found: Any, name: str) -> Any:
    return next(own for own in found.attribute if own.name == name)


class ByHand:
    """Dense blocks of two layers without bottlenecks, node by node."""

    def __init__(self, blocks: int = 2) -> None:
        self.random, self.last = np.random.default_rng(0), "x"
        self.nodes, self.weights = list[Any](), dict[str, Any]()
        self.convolve("stem", 8, 3, 3)
        width = 8
        for block in range(blocks):
            for layer in range(2):
                before = self.last
                self.normalize(width)
                new = self.convolve(f"b{block}l{layer}", K, width, 3)
                self.add("Concat", [before, new], axis=1)
                width += K
            if block < blocks - 1:
                self.normalize(width)
                self.convolve("down", 8, width, 1)
                self.add("AveragePool", [self.last], kernel_shape=[2, 2], strides=[2, 2])
                width = 8
        self.normalize(width)
        self.add("GlobalAveragePool", [self.last])
        self.add("Flatten", [self.last])
        self.add("Gemm", [self.last, self.weight("head.weight", 5, width), self.weight("head.bias", 5)], transB=1)

    def weight(self, name: str, *shape: int) -> str:
        self.weights[name] = (self.random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype("f4")
        return name

    def add(self, operation: str, inputs: list[str], **attributes: Any) -> str:
        self.last = f"v{len(self.nodes)}"
        self.nodes.append(node(operation, inputs, [self.last], name=self.last, **attributes))
        return self.last

    def convolve(self, name: str, outputs: int, inputs: int, kernel: int) -> str:
        weight = self.weight(f"{name}.weight", outputs, inputs, kernel, kernel)
        return self.add("Conv", [self.last, weight], pads=[kernel // 2] * 4)

    def normalize(self, width: int) -> None:
        names = [self.weight(f"norm{len(self.nodes)}.{part}", width) for part in ("weight", "bias", "mean", "var")]
        self.weights[names[3]] = self.weights[names[3]] ** 2 + 0.5
        self.add("BatchNormalization", [self.last, *names])
        self.add("Relu", [self.last])

    def model(self) -> Any:
        arrays = [onnx.numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        ends = [onnx.helper.make_tensor_value_info("x", FLOAT, ["N", 3, 8, 8])]
        ends.append(onnx.helper.make_tensor_value_info(self.last, FLOAT, None))
        graph = onnx.helper.make_graph(self.nodes, "g", ends[:1], ends[1:], arrays)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def read(model: Any, file: Path) -> Checkpoint:
    file.write_bytes(model.SerializeToString())
    return load_checkpoint(file)


def table(found: Checkpoint) -> list[float]:
    return [*connection_weights(found)["mean_abs_weight"]]


def plain(model: Any) -> None:
    pass


def channels_last(model: Any) -> None:
    model.graph.node.insert(0, node("Transpose", ["x"], ["moved"], perm=[0, 3, 1, 2]))
    model.graph.node[1].input[0] = "moved"
    for side, number in zip(model.graph.input[0].type.tensor_type.shape.dim[1:], (8, 8, 3), strict=True):
        side.dim_value = number


def padding_by_name(model: Any) -> None:
    for conv in (own for own in model.graph.node if own.op_type == "Conv"):
        conv.attribute.remove(attribute(conv, "pads"))
        conv.attribute.append(onnx.helper.make_attribute("auto_pad", "SAME_UPPER"))


def a_factor_of_the_classifier(model: Any) -> None:
    model.graph.node[-1].attribute.extend(onnx.helper.make_attribute(n, f) for n, f in (("alpha", 0.5), ("beta", 3.0)))


def whole_numbers(model: Any) -> None:
    """Write the kernels as 8-bit numbers with a scale and a zero point for each output."""
    for held in [own for own in model.graph.initializer if len(own.dims) == 4]:
        array = onnx.numpy_helper.to_array(held)
        scale = np.abs(array).max((1, 2, 3)) / 100
        whole = np.round(array / scale[:, None, None, None]) + np.arange(len(array))[:, None, None, None]
        parts = {"whole": whole.astype("i1"), "scale": scale.astype("f4"), "zero": np.arange(len(array)).astype("i1")}
        model.graph.initializer.remove(held)
        names = [f"{held.name}.{part}" for part in parts]
        model.graph.initializer.extend(map(onnx.numpy_helper.from_array, parts.values(), names))
        model.graph.node.insert(0, node("DequantizeLinear", names, [held.name], axis=0))


SAME = [plain, channels_last, padding_by_name, a_factor_of_the_classifier, whole_numbers]


@pytest.mark.parametrize("blocks", [2, 1])
@pytest.mark.parametrize("change", SAME, ids=lambda change: change.__name__)
def test_it_has_the_scores_that_onnxruntime_computes(
    change: Callable[[Any], None], blocks: int, tmp_path: Path
) -> None:
    model = ByHand(blocks).model()
    change(model)
    found = read(model, tmp_path / "a.onnx")
    images = IMAGES.transpose(0, 2, 3, 1) if change is channels_last else IMAGES
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"x": images}
    )
    with torch.inference_mode():
        scores = found.to_model()(torch.tensor(IMAGES)).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def test_the_factor_of_the_classifier_is_part_of_the_table(tmp_path: Path) -> None:
    model = ByHand().model()
    before = table(read(model, tmp_path / "a.onnx"))
    a_factor_of_the_classifier(model)
    after = table(read(model, tmp_path / "a.onnx"))
    assert after == pytest.approx([*before[:-3], *(0.5 * value for value in before[-3:])])


def maximum_for_relu(model: Any) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((), "f4"), "zero"))
    relu = next(own for own in model.graph.node if own.op_type == "Relu")
    relu.CopyFrom(node("Max", [*relu.input, "zero"], [*relu.output]))


def activations_of_whole_numbers(model: Any) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.1, "f4"), "scale"))
    model.graph.node[1].input[0] = "real"
    model.graph.node.insert(1, node("DequantizeLinear", ["whole", "scale"], ["real"]))
    model.graph.node.insert(1, node("QuantizeLinear", [model.graph.node[0].output[0], "scale"], ["whole"]))


def a_dilated_convolution(model: Any) -> None:
    conv = model.graph.node[3]
    assert conv.op_type == "Conv"
    attribute(conv, "pads").ints[:] = [2] * 4
    conv.attribute.append(onnx.helper.make_attribute("dilations", [2, 2]))


ODD: dict[Callable[[Any], None], str] = {
    maximum_for_relu: "it computes max",
    activations_of_whole_numbers: "it computes dequantizelinear, quantizelinear",
    a_dilated_convolution: r"it has conv 3x3 of stride 1 and padding 2 \(dilated, padded unevenly or rounding up\)",
}


@pytest.mark.parametrize("change", ODD, ids=lambda change: change.__name__)
def test_of_other_operations_only_the_table_is_known(change: Callable[[Any], None], tmp_path: Path) -> None:
    model = ByHand().model()
    before = table(read(model, tmp_path / "a.onnx"))
    change(model)
    found = read(model, tmp_path / "a.onnx")
    assert table(found) == pytest.approx(before)
    with pytest.raises(CheckpointError, match=ODD[change]):
        found.to_model()


@pytest.mark.parametrize("how", ["gather", "slice"])
def test_channels_in_reverse_order_are_followed(how: str, tmp_path: Path) -> None:
    model = ByHand(1).model()
    before = table(read(model, tmp_path / "a.onnx"))
    place = next(number for number, own in enumerate(model.graph.node) if own.op_type == "Concat")
    joined = model.graph.node[place]
    name, joined.output[0] = joined.output[0], "joined"
    numbers = {"places": np.arange(11, -1, -1), "from": [-1], "to": [-13], "axis": [1], "step": [-1]}
    arrays = [onnx.numpy_helper.from_array(np.array(value, "i8"), key) for key, value in numbers.items()]
    model.graph.initializer.extend(arrays)
    turned = node("Gather", ["joined", "places"], [name], axis=1)
    if how == "slice":
        turned = node("Slice", ["joined", "from", "to", "axis", "step"], [name])
    model.graph.node.insert(place + 1, turned)
    found = read(model, tmp_path / "a.onnx")
    weight = np.abs(found.arrays["b0l1.weight"])  # it reads the new maps first, and then the others
    first = connection_weights(found)["mean_abs_weight"].tolist()[1:3]
    assert first == pytest.approx([weight[:, 4:].mean(), weight[:, :4].mean()])
    assert first != pytest.approx(before[1:3])
    with pytest.raises(CheckpointError, match=r"a choice of channels|slices with steps"):
        found.to_model()


def test_a_convolution_of_whole_numbers_says_so(tmp_path: Path) -> None:
    model = ByHand().model()
    for conv in (own for own in model.graph.node if own.op_type == "Conv"):
        conv.op_type = "QLinearConv"
    with pytest.raises(CheckpointError, match="as quantized networks do: save it with weights of floating point"):
        read(model, tmp_path / "a.onnx")
