"""Names for tensors that have none, such as the arrays of Keras's ``get_weights()``, which are in the layers' order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from densenet_core.arrays import Array

_NUMBERED = re.compile(r"(?:arr_)?(\d{1,6})")  # numpy.savez names its arrays arr_0, arr_1, ...
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_NORM_SIZES = (5, 4, 2)  # with running statistics and their counter, without the counter, without statistics
MAX_SIDE = 15  # of a kernel
UNNAMED = "the tensors have no names: their places in the file show their layers"


def with_names(tensors: Mapping[str, Array]) -> dict[str, Array] | None:
    """Return tensors that only have numbers under names of their own, or None if their layers are not clear.

    A kernel begins a layer. Of the vectors behind it, the first may be its bias, and the others are the parts of norms,
    which all have equally many.

    >>> import numpy as np
    >>> list(with_names({"0": np.ones((4, 3, 3, 3)), "1": np.ones(4), "2": np.ones(4), "3": np.ones((9, 4))}))
    ['000.weight', '001.weight', '001.bias', '002.weight']
    """
    places = [match for key in tensors if (match := _NUMBERED.fullmatch(key))]
    if len(places) < len(tensors) or all(array.ndim < 3 for array in tensors.values()):
        return None
    arrays = [tensors[match[0]] for match in sorted(places, key=lambda match: int(match[1]))]
    kernel = _kernel_name(arrays)
    for size in _NORM_SIZES:
        names = [*_names(arrays, size, kernel)]
        if len(names) == len(arrays):
            return dict(zip(names, arrays, strict=True))
    return None


def _kernel_name(arrays: Sequence[Array]) -> str:
    """Return PyTorch's name of (out, in, *kernel), or TensorFlow's of (*kernel, in, out)."""
    sides = [(set(array.shape[2:]), set(array.shape[:-2])) for array in arrays if array.ndim > 2]
    torchs, tensorflows = (
        [len(own) == 1 and max(own) <= MAX_SIDE for own in each] for each in zip(*sides, strict=True)
    )
    return "kernel" if all(tensorflows) and not all(torchs) else "weight"


def _names(arrays: Sequence[Array], size: int, kernel: str) -> Iterator[str]:
    """Yield the names if norms have ``size`` parts; fewer than there are arrays if they do not fit."""
    module, outputs = -1, 0
    for length, run in groupby(zip(_lengths(arrays), arrays, strict=True), key=lambda pair: pair[0]):
        own = [array for _, array in run]
        if length is None:
            for array in own:
                module, outputs = module + 1, array.shape[0 if kernel == "weight" else -1]
                yield f"{module:03d}.{kernel}"
            continue
        has_bias = length == outputs and len(own) % size == 1
        if not _are_norms(own[has_bias:], size):
            return
        if has_bias:
            yield f"{module:03d}.bias"
        for place in range(len(own) - has_bias):
            module += place % size == 0
            yield f"{module:03d}.{_NORM[place % size]}"
        outputs = 0


def _lengths(arrays: Sequence[Array]) -> Iterator[int | None]:
    """Yield the length of each vector, that of the vector before for a single number, and None for a kernel."""
    length: int | None = None
    for array in arrays:
        length = None if array.ndim > 1 else len(array) if array.ndim else length or -1
        yield length


def _are_norms(own: Sequence[Array], size: int) -> bool:
    counters = [place for place, array in enumerate(own) if not array.ndim]
    return len(own) % size == 0 and counters == ([*range(4, len(own), 5)] if size == 5 else [])
