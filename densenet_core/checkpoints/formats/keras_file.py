"""Weight files of Keras 1, 2 and 3 (.h5, .weights.h5, .keras) as state dicts in PyTorch's layout.

Kernels are transposed from (*kernel, in, out) to (out, in, *kernel); Theano's, which Keras 1 may have stored, already
have that order and are flipped. To keep the function of batch norms under PyTorch's epsilon of 1e-5, the difference to
the network's own epsilon is added to the running variance.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.content import Candidate, FileContent
from densenet_core.checkpoints.identify.layouts import OUR_EPSILON
from densenet_core.errors import CheckpointError

KerasLayout = Literal["tensorflow", "theano"]
KERAS_LAYOUTS: tuple[KerasLayout, ...] = get_args(KerasLayout)
KERAS_EPSILON = 1e-3
APPLICATIONS_EPSILON = 1.001e-5  # of keras.applications' DenseNets
APPLICATIONS_NORM = "conv2_block1_0_bn"
_PARTS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
_PARTS |= {"moving_variance": "running_var", "bias": "bias"}
_KERAS_1 = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}
_KERAS_1 |= {"gamma": "gamma", "beta": "beta"}  # Keras 1 called the variance a standard deviation
_OLD_NAME = re.compile(rf"(.+)_({'|'.join(_KERAS_1)})")
_NOT_WEIGHTS = re.compile(r"(^|/)(seed_generator|metrics|top_level_model_weights)(/|$)|(^|/)optimizer")


def check_keras_layout(content: FileContent, layout: KerasLayout | None) -> None:
    """Raise CheckpointError if a layout is given that is unknown, or for a file of another format."""
    if layout is not None and (content.format != "hdf5" or layout not in KERAS_LAYOUTS):
        raise CheckpointError(
            f"keras_layout {layout!r} is for files of Keras, and one of {', '.join(KERAS_LAYOUTS)}: "
            f"this file has the format {content.format}"
        )


def keras_state_dict(
    content: FileContent, candidate: Candidate, layout: KerasLayout | None = None
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the weights of a Keras network by the names of its layers, and how their kernels were read, in words.

    Args:
        layout: of the kernels; by default that of the file's configuration, or else the one that most shapes show.

    Raises:
        CheckpointError: no layer has a kernel, or a tensor is not of floating point.
    """
    layers = _layers(content, candidate)
    if not any("kernel" in arrays for arrays in layers.values()):
        raise CheckpointError("the HDF5 file holds no layer with a kernel: save the network's weights with Keras")
    norms = _parse_norms(content.about.get("norms"))
    is_theano, note = _is_theano(layers, content.about.get("dim_ordering"), layout)
    usual = APPLICATIONS_EPSILON if APPLICATIONS_NORM in layers else KERAS_EPSILON
    tensors: dict[str, Array] = {}
    for layer, arrays in layers.items():
        for part, array in arrays.items():
            if part == "moving_variance":
                array = array + array.dtype.type(norms.get(layer, (usual,))[0] - OUR_EPSILON)
            elif part == "kernel":
                array = _in_torchs_layout(array, is_theano)
            tensors[f"{layer}.{_PARTS.get(part, part)}"] = array
    return dict(sorted(tensors.items())), note  # HDF5 keeps no order


def find_other_functions(content: FileContent) -> str:
    """Return what the network's configuration has that DenseNets do not compute, or an empty text."""
    functions = content.about.get("functions")
    named = sorted({str(name)[:40] for name in functions}) if isinstance(functions, list) else []
    return f"its configuration has {', '.join(named[:5])}, which DenseNets do not have" if named else ""


def _layers(content: FileContent, candidate: Candidate) -> dict[str, dict[str, Array]]:
    """Return the arrays of each layer by Keras's names."""
    names = content.about.get("layers")
    own_names = names if isinstance(names, dict) else {}
    kept = [path for path in candidate.tensors if not _NOT_WEIGHTS.search(path)]
    found: dict[str, dict[str, Array]] = {}
    for path, array in content.arrays(candidate, kept).items():
        if array.dtype.kind != "f":
            raise CheckpointError(f"tensor {path!r} is {array.dtype}: floating point is needed")
        layer, part = _place(path, own_names)
        found.setdefault(layer, {})[part] = array
    norms = _parse_norms(content.about.get("norms"))
    return {layer: _name_parts(arrays, norms.get(layer)) for layer, arrays in found.items()}


def _place(path: str, own_names: Mapping[str, Any]) -> tuple[str, str]:
    """Return the layer and the part of it that a data set holds."""
    group, _, last = path.rpartition("/")
    parts = path.removeprefix("model_weights/").split("/")
    if parts[-2:-1] == ["vars"]:  # Keras 3: layers/conv2d_4/vars/0; the layer's own name is an attribute
        return str(own_names.get(group, parts[-3] if len(parts) > 2 else "")).replace("/", "_"), last
    last = last.removesuffix(":0")
    if (old := _OLD_NAME.fullmatch(last)) and last not in _PARTS:  # Keras 1: conv1/conv1_W
        return old[1], _KERAS_1[old[2]]
    half = len(parts) // 2  # Keras 2: conv1/conv/conv1/conv/kernel:0
    layer = parts[:half] if parts[:half] == parts[half:-1] else parts[-2:-1]
    return "_".join(layer), last


def _name_parts(arrays: dict[str, Array], norm: tuple[float, bool, bool] | None) -> dict[str, Array]:
    """Return numbered arrays by their names in Keras, with ones and zeros for the parts that a norm lacks."""
    if "0" in arrays and all(number.isdecimal() for number in arrays):
        numbered = [arrays[number] for number in sorted(arrays, key=int)]
        names = _norm_parts(len(numbered), norm) if numbered[0].ndim == 1 and len(numbered) > 1 else ("kernel", "bias")
        arrays = dict(zip(names, numbered, strict=False)) | {str(n): a for n, a in enumerate(numbered[len(names) :])}
    if "moving_mean" in arrays:
        mean = arrays["moving_mean"]
        arrays = {"gamma": np.ones_like(mean), "beta": np.zeros_like(mean), **arrays}
    return arrays


def _norm_parts(number: int, norm: tuple[float, bool, bool] | None) -> tuple[str, ...]:
    """Return the names of the parts of a norm that has this number of arrays."""
    _, has_scale, has_center = norm or (0.0, number > 3, number > 2)
    parts = (*(("gamma",) if has_scale else ()), *(("beta",) if has_center else ()), "moving_mean", "moving_variance")
    return parts if len(parts) == number else ("gamma", "beta", "moving_mean", "moving_variance")[:number]


def _parse_norms(norms: Any) -> dict[str, tuple[float, bool, bool]]:
    """Return (epsilon, has a scale, has a center) of each batch norm in the network's configuration."""
    found = {}
    for name, values in norms.items() if isinstance(norms, dict) else ():
        if isinstance(values, list) and len(values) == 3 and isinstance(values[0], float) and 0 <= values[0] < 1:
            found[name.replace("/", "_")] = (values[0], bool(values[1]), bool(values[2]))
    return found


def _is_theano(
    layers: Mapping[str, Mapping[str, Array]], dim_ordering: Any, layout: KerasLayout | None
) -> tuple[bool, tuple[str, ...]]:
    """Return whether kernels are (out, in, height, width) and flipped, and a note if that is not plain."""
    if layout is not None:
        return layout == "theano", (f"kernels were read in the layout of {layout.replace('t', 'T', 1)}, as asked",)
    theano = "kernels have Theano's layout: (out, in, height, width), flipped"
    if dim_ordering in ("th", "tf"):
        return dim_ordering == "th", (theano,) if dim_ordering == "th" else ()
    kernels = [arrays["kernel"].shape for arrays in layers.values() if "kernel" in arrays]
    kernels = [shape for shape in kernels if len(shape) == 4]
    num_theano = sum(shape[2] == shape[3] < shape[0] for shape in kernels)
    if num_theano > sum(shape[0] == shape[1] < shape[3] for shape in kernels):
        return True, (f"{theano}, by their shapes (otherwise: --keras-layout tensorflow)",)
    return False, ()


def _in_torchs_layout(kernel: Array, is_theano: bool) -> Array:
    if is_theano and kernel.ndim == 4:
        return kernel[:, :, ::-1, ::-1].copy()  # 1x1 kernels count as contiguous with negative strides, too
    return np.ascontiguousarray(kernel.transpose(-1, -2, *range(kernel.ndim - 2)))
