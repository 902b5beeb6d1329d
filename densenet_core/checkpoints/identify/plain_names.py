"""A state dict as PyTorch would name it: other libraries' names for the parts of a module, and wrappers, are undone.

Names of modules stay as they are: ``layouts`` and ``by_shape`` know what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile

import numpy as np

from densenet_core.arrays import Array
from densenet_core.errors import CheckpointError

# wrappers of training frameworks, which can occur anywhere in a name, and DataParallel around a part of a network
_WRAPPERS = re.compile(r"(?:_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.|(?<=\.)module\.")
_COLLECTIONS = ("params", "batch_stats")  # of Flax
_MEANS = ("running_mean", "_mean", "moving_mean", "mean")
_VARIANCES = ("running_var", "_variance", "moving_variance", "moving_var", "var")
_SCALES = ("weight", "gamma", "scale")
_SHIFTS = ("bias", "beta", "offset")
_PARTS = {  # of a norm, by PyTorch's names
    **dict.fromkeys(_MEANS, "running_mean"),
    **dict.fromkeys(_VARIANCES, "running_var"),
    **dict.fromkeys(_SCALES, "weight"),
    **dict.fromkeys(_SHIFTS, "bias"),
}
# MXNet's symbols join a layer's name and the part by an underscore
_JOINED = re.compile(r"(?:arg:|aux:)?(.+)_(weight|bias|gamma|beta|(?:running|moving)_(?:mean|var))")
_KERNELS = ("kernel", "weights")  # of Flax and TensorFlow: (*kernel, in, out)
COUNTERS = ("total_ops", "total_params", "_count", "_stage", "decay")  # of profilers, CondenseNet and averages
_NUMBERS = ("num_batches_tracked", "_whole", "_zero_points", "weight_zero_point")  # that are part of a network
_METRICS = ("tp", "fp", "tn", "fn", "confmat", "correct", "total")  # that torchmetrics counts
_LOSSES = re.compile(
    r"(?:.+\.)?(?:criterion|loss|loss_fn|loss_func)\.(?:weight|pos_weight|alpha)"
)  # weights of classes
_DEVIATIONS = {"mean": "std", "pixel_mean": "pixel_std", "image_mean": "image_std", "mu": "sigma"}  # of images
EPSILON = "an epsilon of 1e-05 in the batch norms, where TensorFlow's usual one is 0.001"
PADDED = "the stem is padded on both sides by half its kernels, where padding 'same' with strides is uneven"
# what is added to a weight with a factor that is in no state dict
_ADAPTERS = re.compile(r"(?:^|[._])(lora_[a-zA-Z]+|ia3_l|hada_w\d|lokr_w\d)(?:[._]|$)")


def plain_names(tensors: Mapping[str, Array]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the tensors under PyTorch's names for their parts, and what was done, in words.

    >>> sorted(plain_names({"a._mean": np.ones(2), "a._variance": np.ones(2), "a.weight": np.ones(2)})[0])
    ['a.running_mean', 'a.running_var', 'a.weight']

    Raises:
        CheckpointError: some weights are the sum of others, with a factor that is not in the file (LoRA).
    """
    for key in tensors:
        if _ADAPTERS.search(key):
            raise CheckpointError(
                f"its weights have updates of low rank, such as {key!r}, whose factor is not in the file: merge them "
                "where it was made (in peft: merge_and_unload) and save the state dict again"
            )
    is_flax = {key.split(".", 1)[0] for key in tensors} == {*_COLLECTIONS}
    plain = {_unwrap(key, is_flax): key for key in tensors}
    if len(plain) < len(tensors):
        plain = {key: key for key in tensors}
    plain = {_rename(key, plain): theirs for key, theirs in plain.items()}
    arrays = {key: tensors[theirs] for key, theirs in plain.items()}
    for key in [key for key, array in arrays.items() if key.endswith(_NUMBERS[0]) and array.shape == (1,)]:
        arrays[key] = arrays[key].reshape(())
    return _in_torchs_layout(arrays)


def _unwrap(key: str, is_flax: bool) -> str:
    key = _WRAPPERS.sub("", key)
    if "." not in key and "/" in key:
        key = key.removesuffix(":0").replace("/", ".")
    if "." not in key and (joined := _JOINED.fullmatch(key)):
        key = f"{joined[1]}.{joined[2]}"
    return key.split(".", 1)[1] if is_flax else key


def _rename(key: str, keys: Mapping[str, str]) -> str:
    """Return a norm's part by PyTorch's name: of modules that have a mean and a variance, or gamma and beta alone."""
    module, _, part = key.rpartition(".")
    has_statistics = all(any(f"{module}.{name}" in keys for name in names) for names in (_MEANS, _VARIANCES))
    is_affine = part in ("gamma", "beta") and {f"{module}.gamma", f"{module}.beta"} <= keys.keys()
    ours = f"{module}.{_PARTS.get(part, part)}" if has_statistics or is_affine else key
    return key if ours in keys else ours


def _in_torchs_layout(arrays: dict[str, Array]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Transpose kernels to (out, in, *kernel) where they have the names that Flax and TensorFlow give them."""
    kernels = [key for key in arrays if key.rpartition(".")[2] in _KERNELS and arrays[key].ndim > 1]
    if not kernels or any(key.endswith(".weight") and array.ndim > 1 for key, array in arrays.items()):
        return arrays, ()
    found: dict[str, Array] = {}
    for key, array in arrays.items():
        if key in kernels:
            order = (-1, -2, *range(array.ndim - 2))
            found[f"{key.rpartition('.')[0]}.weight"] = np.ascontiguousarray(array.transpose(order))
        else:
            found[f"{key.removesuffix('.biases')}.bias" if key.endswith(".biases") else key] = array
    return found, (f"{len(kernels)} kernels transposed from (*kernel, in, out)",)


def is_counter(key: str, tensor: Array) -> bool:
    """Return whether a tensor is no part of a network: it counts updates, operations or results, or weighs a loss."""
    part = key.rpartition(".")[2]
    is_number = tensor.dtype.kind in "iub" and tensor.size == 1 and not key.endswith(_NUMBERS)
    is_metric = tensor.dtype.kind in "iu" and part in _METRICS
    is_1 = part == "scale" and tensor.size == 1 and bool((tensor == 1).all())  # of dynamic quantization
    return is_number or is_metric or is_1 or part in COUNTERS or _LOSSES.fullmatch(key) is not None


def input_normalization(tensors: Mapping[str, Array]) -> tuple[str, ...]:
    """Return the names of a mean and a deviation by which a network normalizes its images.

    >>> arrays = {"a.mean": np.ones((3, 1, 1)), "a.std": np.ones((3, 1, 1)), "b.weight": np.ones((8, 3, 3, 3))}
    >>> input_normalization(arrays)
    ('a.mean', 'a.std')
    """
    channels = {array.shape[1] for array in tensors.values() if array.ndim > 2 and array.shape[0] > 1}
    for key, array in tensors.items():
        module, dot, part = key.rpartition(".")
        other = f"{module}{dot}{_DEVIATIONS.get(part)}"
        is_pair = other in tensors and tensors[other].shape == array.shape
        if is_pair and f"{module}{dot}weight" not in tensors and array.size in channels and array.size in array.shape:
            return key, other
    return ()


def check_whole(tensors: Mapping[str, Array]) -> None:
    """Raise CheckpointError if weights are empty, as where each process of a training saved its own part."""
    if empty := [key for key, array in tensors.items() if key.endswith("weight") and not array.size]:
        raise CheckpointError(
            f"tensor {empty[0]!r} holds no numbers ({len(empty)} in all): the file may be one process's part of a "
            "network that DeepSpeed (ZeRO) or FSDP divided, so save the whole state dict (zero_to_fp32.py for ZeRO)"
        )


def split_parts(tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return the parts of a network by the first component in which its tensors' names differ."""
    columns = zip(*(key.split(".")[:-1] for key in tensors), strict=False)
    shared = len([*takewhile(lambda column: len({*column}) == 1, columns)])
    parts: dict[str, dict[str, Array]] = {}
    for key, tensor in tensors.items():
        parts.setdefault(".".join(key.split(".")[: shared + 1]), {})[key] = tensor
    return parts
