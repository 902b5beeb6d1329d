"""Small files that ask for a lot of time, memory or other people's data, and why each of them is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from struct import pack
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from tests.fuzz import hostile

BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {}


def bomb(reason: str, name: str = "") -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    def register(make: Callable[[], bytes]) -> Callable[[], bytes]:
        BOMBS[name or make.__name__.replace("_", " ")] = make, reason
        return make

    return register


def pickled(content: bytes) -> bytes:
    return hostile.archive({"archive/data.pkl": content, "archive/version": b"3\n"})


def text(name: str) -> bytes:
    return b"X" + pack("<I", len(name)) + name.encode()


@bomb("no tensors, only 'a'")
def bytearray_of_6_gb() -> bytes:
    return pickled(b"\x80\x02}" + text("a") + b"c__builtin__\nbytearray\n\x8a\x08" + pack("<q", 6 * 10**9) + b"\x85Rs.")


@bomb("no tensors, only keys that are no names")
def a_key_that_takes_2_to_the_45_steps_to_hash() -> bytes:
    return pickled(b"\x80\x02}" + text("a") + b"q\x01" + b"q\x01h\x01\x86" * 45 + b"K\x01s.")


@bomb("an object of type bytes, not a state dict")
def hexadecimal_of_hexadecimal() -> bytes:
    again = b"c_codecs\nencode\n"
    return pickled(b"\x80\x02" + again * 40 + b"C\x08abcdefgh" + (text("hex") + b"\x86R") * 40 + b".")


@bomb("no tensors, only 'features.conv0.weight'")
def tensors_of_memory_that_others_used() -> bytes:
    size = b"\x8a\x04" + pack("<i", 100_000)
    return pickled(b"\x80\x02}" + text("features.conv0.weight") + b"ctorch\nTensor\n" + size + b"\x85Rs.")


@bomb("its pickle has more parts than any network.s")
def a_long_list_made_a_dictionary_100_000_times() -> bytes:
    pairs = b"]q\x00(" + (text("a") + b"K\x01\x86") * 100_000 + b"e0"
    name = b"ccollections\nOrderedDict\nq\x010"
    return pickled(b"\x80\x02" + name + pairs + b"(" + b"h\x01h\x00\x85R" * 100_000 + b"t.")


@bomb("'a.npy' is cut short or damaged")
def a_header_of_brackets_in_brackets() -> bytes:
    header = b"(" * 200_000 + b")" * 200_000
    return hostile.archive({"a.npy": b"\x93NUMPY\2\0" + pack("<I", len(header)) + header})


@bomb("storage '[^']*' is missing")
def a_legacy_file_without_its_storages() -> bytes:
    content = hostile.torch_file({"a.weight": torch.ones(5)}, _use_new_zipfile_serialization=False)
    keys = content.rindex(b"\x80\x02]")
    return content[:keys] + b"\x80\x02].\0\0\0\0\0\0\0\0\0\0\0\0"


@bomb("overlap")
def tensors_that_overlap() -> bytes:
    entry = {"dtype": "F32", "shape": [2]}
    header = {"a": entry | {"data_offsets": [0, 8]}, "b": entry | {"data_offsets": [4, 12]}}
    return hostile.safetensors_file(header, bytes(12))


@bomb("more than one archive|damaged")
def two_archives_in_one() -> bytes:
    state = hostile.trained_like(hostile.SPEC).state_dict()
    return hostile.torch_file(state) + hostile.torch_file({key: -tensor for key, tensor in state.items()})


@bomb("two files named|more than one archive")
def two_central_directories() -> bytes:
    content = hostile.archive({"archive/data.pkl": b"\x80\x02}.", "archive/version": b"3"})
    end = content.rindex(b"PK\5\6")
    size, start = (int.from_bytes(content[end + at : end + at + 4], "little") for at in (12, 16))
    return content[:end] + content[start : start + size] + content[end:]


@bomb("more parts than any network's")
def three_million_lists_in_each_other() -> bytes:
    return b"\x80\x02" + b"]" * 3_000_000 + b"a" * 2_999_999 + b"."


@bomb("more parts than any network's")
def twenty_million_open_containers() -> bytes:
    return pickled(b"\x80\x02" + b"(" * 20_000_000 + b".")


@bomb("more parts than any network's")
def ten_million_numbers() -> bytes:
    return pickled(b"\x80\x02](" + b"K\x01" * 10_000_000 + b"e.")


@bomb("nested more deeply|more parts")
def modules_in_modules() -> bytes:
    module = b"ctorch.nn\nModule\n)\x81}" + text("_modules") + b"}" + text("a")
    return pickled(b"\x80\x02" + module * 900 + b"N" + b"ssb" * 900 + b".")


@bomb("characters")
def a_name_of_a_million_characters() -> bytes:
    return hostile.torch_file({"x" * 10**6 + ".weight": torch.ones(3, 3, 3, 3)})


@bomb("a tensor's name has over 100 parts")
def norms_with_names_of_240_parts() -> bytes:
    name = ".".join(["a"] * 240)
    norms = {f"{name}.{i}.{part}": np.ones(8, "f4") for i in range(490) for part in ("weight", "bias")}
    return save(norms | {f"{name}.{i}.conv.weight": np.ones((8, 8, 1, 1), "f4") for i in range(490)})


@bomb("num_columns 30 must be at most 12")
def thirty_columns() -> bytes:
    return own("FractalNet", {"widths": [8, 8], "num_columns": 30})


@bomb("metadata can't be read")
def columns_of_1e10() -> bytes:
    return own("FractalNet", {"widths": [8, 8], "num_columns": 1e10})


@bomb("metadata can't be read|can't be read|missing")
def a_width_of_10_to_the_400() -> bytes:
    return own("DenseNet", {"block_config": [1], "growth_rate": 10**400, "num_init_features": 1})


def own(family: str, spec: dict[str, Any]) -> bytes:
    about = {"family": family, "spec": spec, "record": {}}
    return save({"a": np.zeros(3, "f4")}, {"densenet_lens": json.dumps(about)})


@bomb("groups are nested more deeply")
def two_thousand_nested_groups() -> bytes:
    h5py = pytest.importorskip("h5py")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as stream:
        group = stream
        for _ in range(2_000):
            group = group.create_group("g")
        group["kernel:0"] = np.ones((3, 3, 2, 2), "f4")
    return buffer.getvalue()


def graph(nodes: list[Any], shape: list[int], weights: dict[str, tuple[int, ...]], functions: Any = ()) -> bytes:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    held = [onnx.numpy_helper.from_array(np.full(sides, 0.1, "f4"), name) for name, sides in weights.items()]
    content: bytes = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], held), functions=list(functions)
    ).SerializeToString()
    return content


def node(operation: str, inputs: str, output: str, **attributes: Any) -> Any:
    helper = pytest.importorskip("onnx").helper
    return helper.make_node(operation, inputs.split(), output.split(), **attributes)


@bomb("700,000,000 channels")
def an_input_of_700_million_channels() -> bytes:
    return graph([node("Relu", "x", "y")], [1, 7 * 10**8, 8, 8], {})


@bomb("channels, which no network needs")
def maps_doubled_28_times() -> bytes:
    doubled = [node("Concat", f"a{i} a{i}", f"a{i + 1}", axis=1) for i in range(28)]
    return graph([node("Conv", "x w", "a0"), *doubled], [1, 3, 8, 8], {"w": (4, 3, 1, 1)})


@bomb("no layer of the network reads|channels")
def maps_expanded() -> bytes:
    expand = [node("Expand", "a s", "b"), node("Conv", "b v", "y")]
    content = [node("Constant", "", "s", value_ints=[1, 2**30, 8, 8]), node("Conv", "x w", "a"), *expand]
    return graph(content, [1, 3, 8, 8], {"w": (4, 3, 1, 1), "v": (4, 4, 1, 1)})


@bomb("read 4 channels|no network needs")
def two_hundred_million_groups() -> bytes:
    up = node("ConvTranspose", "a v", "y", group=2 * 10**8)
    return graph([node("Conv", "x w", "a"), up], [1, 3, 8, 8], {"w": (4, 3, 1, 1), "v": (4, 4, 1, 1)})


@bomb("no layer of the network reads")
def functions_that_call_the_next_twice() -> bytes:
    helper = pytest.importorskip("onnx").helper
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = []
    for i in range(40):
        calls = [helper.make_node(f"F{i + 1}", [a], [b], domain="f") for a, b in (("p", "q"), ("q", "r"))]
        body = calls if i < 39 else [helper.make_node("Relu", ["p"], ["r"])]
        functions.append(helper.make_function("f", f"F{i}", ["p"], ["r"], body, imports))
    first = helper.make_node("F0", ["a"], ["y"], domain="f")
    return graph([node("Conv", "x w", "a"), first], [1, 3, 8, 8], {"w": (4, 3, 1, 1)}, functions)


@bomb("as quantized networks do")
def weights_that_are_computed_4000_times() -> bytes:
    again = [node("DequantizeLinear", "q s", f"w{i}") for i in range(4000)]
    return graph([*again, node("Conv", "x w3999", "y")], [1, 3, 8, 8], {"q": (1000, 3, 20, 20), "s": (1,)})


@bomb("its nodes can't be followed")
def a_scale_for_each_of_a_million_outputs() -> bytes:
    one = node("DequantizeLinear", "q s", "w", axis=0)
    return graph([one, node("Conv", "x w", "y")], [1, 3, 8, 8], {"q": (1, 3, 1000, 1), "s": (1_000_000,)})


@bomb("more than 5,000 nodes")
def three_hundred_thousand_nodes() -> bytes:
    return b"\x08\x08" + _field(7, _node(b"Relu", b"a", b"a") * 300_000)


def _node(operation: bytes, one: bytes, other: bytes) -> bytes:
    return _field(1, _field(1, one) + _field(2, other) + _field(4, operation))


def _field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
