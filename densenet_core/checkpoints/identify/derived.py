"""Weights that a network computes from other tensors, composed as PyTorch and Keras compose them.

A file may hold ``weight_orig`` and ``weight_mask`` instead of ``weight``, or a layer that scales what a batch norm
returns. Each is replaced with the tensors of the equivalent plain layer, and what was done is listed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.dequantizing import dequantize
from densenet_core.errors import CheckpointError

Arrays = dict[str, Array]
MAX_NESTING = 5  # from parametrizations.weight.0._u up to the module that has the weight
MAX_GROUPS = 64  # of a condensed convolution
_MASKS = {"mask", "masks"}
_EPSILON = 1e-12  # of torch's spectral norm for vectors


def compose_weights(tensors: Mapping[str, Array]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the tensors with every derived weight composed, in the file's order, and what was done, in words.

    Composed are quantized weights, ``torch.nn.utils.prune`` (``weight_orig * weight_mask``), weight norm and spectral
    norm under their old names and as parametrizations, masks beside a convolution, condensed convolutions
    (CondenseNet's ``index``), Keras's ``Scale`` layers behind a batch norm, and batch norms without gamma or beta.

    Raises:
        CheckpointError: a weight is computed by a parametrization that is not known here.

    >>> compose_weights({"a.weight_orig": np.ones((2, 2)), "a.weight_mask": np.eye(2)})[0]["a.weight"].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    arrays, done = dict(tensors), Counter[str]()
    with np.errstate(divide="ignore", invalid="ignore"):  # a direction of zeros gives NaN, as in torch
        for compose in _STEPS:
            done.update(compose(arrays))
    if new := arrays.keys() - tensors.keys():
        places = _places(tensors)
        arrays = {key: arrays[key] for key in sorted(arrays, key=lambda key: _place(key, places, key in new))}
    return arrays, tuple(f"{number} {what}" for what, number in done.items())


def _places(tensors: Mapping[str, Array]) -> dict[str, int]:
    """Return where each tensor, and each module that holds one, first appears in the file."""
    places: dict[str, int] = {}
    for place, key in enumerate(tensors):
        places[key] = place
        for _ in range(MAX_NESTING):
            key = key.rpartition(".")[0]
            places.setdefault(key, place)
    return places


def _place(key: str, places: Mapping[str, int], is_new: bool) -> int:
    return places.get(key.rpartition(".")[0], 0) if is_new else places[key]


def _take(arrays: Arrays, *keys: str) -> list[Array]:
    return [arrays.pop(key) for key in keys]


def _undo_pruning(arrays: Arrays) -> list[str]:
    names = [key.removesuffix("_orig") for key in arrays if key.endswith("_orig") and f"{key[:-5]}_mask" in arrays]
    for name in names:
        original, mask = _take(arrays, f"{name}_orig", f"{name}_mask")
        _check_shape(f"{name}_mask", mask, original.shape)
        arrays[name] = original * mask.astype(original.dtype)
    return ["pruned tensors multiplied with their masks"] * len(names)


def _undo_weight_norm(arrays: Arrays) -> list[str]:
    names = [key.removesuffix("_g") for key in arrays if key.endswith("_g") and f"{key[:-2]}_v" in arrays]
    for name in names:
        arrays[name] = _weight_norm(name, *_take(arrays, f"{name}_g", f"{name}_v"))
    return ["weights composed of length and direction (weight norm)"] * len(names)


def _undo_spectral_norm(arrays: Arrays) -> list[str]:
    names = [
        key.removesuffix("_orig")
        for key in arrays
        if key.endswith("_orig") and all(f"{key[:-5]}{part}" in arrays for part in ("_u", "_v"))
    ]
    for name in names:
        arrays[name] = _spectral_norm(name, *_take(arrays, f"{name}_orig", f"{name}_u", f"{name}_v"))
    return ["weights divided by their spectral norm"] * len(names)


def _undo_parametrizations(arrays: Arrays) -> list[str]:
    owned: dict[tuple[str, str], dict[str, Array]] = {}
    for key in [key for key in arrays if ".parametrizations." in key]:
        module, _, rest = key.rpartition(".parametrizations.")
        name, _, part = rest.partition(".")
        owned.setdefault((module, name), {})[part] = arrays.pop(key)
    done = []
    for (module, name), parts in owned.items():
        weight = f"{module}.{name}"
        if parts.keys() == {"original0", "original1"}:
            arrays[weight] = _weight_norm(weight, parts["original0"], parts["original1"])
            done.append("weights composed of length and direction (weight norm)")
        elif parts.keys() == {"original", "0._u", "0._v"}:
            arrays[weight] = _spectral_norm(weight, parts["original"], parts["0._u"], parts["0._v"])
            done.append("weights divided by their spectral norm")
        else:
            raise CheckpointError(
                f"{weight!r} is computed by a parametrization that is not known here ({', '.join(sorted(parts)[:5])}): "
                "call torch.nn.utils.parametrize.remove_parametrizations and save the state dict again"
            )
    return done


def _weight_norm(name: str, length: Array, direction: Array) -> Array:
    """g * v / ||v||, with the norm over all axes but the one in which g is as long as v (``torch._weight_norm``)."""
    kept = [axis for axis in range(length.ndim) if length.shape[axis] != 1]
    _check_shape(
        name, length, tuple(d if axis in kept else 1 for axis, d in enumerate(direction.shape)), is_scalar=True
    )
    axes = tuple(axis for axis in range(direction.ndim) if axis not in kept)
    wide = direction.astype(np.float64)
    norm = np.sqrt((wide**2).sum(axis=axes, keepdims=True))
    weight: Array = (wide * (length / norm)).reshape(direction.shape).astype(direction.dtype)
    return weight


def _spectral_norm(name: str, original: Array, u: Array, v: Array) -> Array:
    """W / (u . W v), as in evaluation mode; W as a matrix with the axis first that is as long as u."""
    wide = original.astype(np.float64)
    if original.ndim == 1:
        return (wide / max(float(np.linalg.norm(wide)), _EPSILON)).astype(original.dtype)
    axis = 0 if len(u) == original.shape[0] else 1  # 1: a transposed convolution's outputs
    if (len(u), len(u) * len(v)) != (original.shape[axis], original.size):
        raise CheckpointError(f"spectral norm of {name!r}: u has {len(u)} and v {len(v)} numbers for {original.shape}")
    matrix = np.moveaxis(wide, axis, 0).reshape(len(u), -1)
    return (wide / (u.astype(np.float64) @ matrix @ v.astype(np.float64))).astype(original.dtype)


def _apply_masks(arrays: Arrays) -> list[str]:
    """Multiply masks of 0 and 1 with the weights that they are saved beside; masked weights stay as they are."""
    done = []
    tops = list(dict.fromkeys(key.partition(".")[0] for key in arrays))[:MAX_NESTING]
    for key in [key for key in arrays if key.endswith("mask") or _MASKS & {*key.split(".")[:-1]}]:
        names = [name for name in _maskable(key, tops) if name in arrays and arrays[name].shape == arrays[key].shape]
        if names and np.isin(arrays[key], (0, 1)).all():
            arrays[names[0]] = arrays[names[0]] * arrays.pop(key).astype(arrays[names[0]].dtype)
            done.append("weights multiplied with their masks")
    return done


def _maskable(key: str, tops: Sequence[str]) -> tuple[str, ...]:
    """Return the tensors that a mask may belong to, by its name.

    CondenseNet's learned group convolutions have ``X._mask`` beside ``X.conv.weight``, pruning written by hand
    ``X.mask`` or ``X.weight_mask`` beside ``X.weight``, or ``masks.X`` beside ``X`` or ``model.X``.

    Args:
        tops: the first parts of names in the file.
    """
    parts = key.split(".")
    if _MASKS & {*parts[:-1]}:
        plain = ".".join(own for own in parts if own not in _MASKS)
        return tuple(f"{top}{plain}{end}" for top in ("", *(f"{own}." for own in tops)) for end in ("", ".weight"))
    module, _, part = key.rpartition(".")
    if part in ("_mask", "mask"):
        return f"{module}.conv.weight", f"{module}.weight", module
    return (key.removesuffix("_mask"),)


def _undo_condensing(arrays: Arrays) -> list[str]:
    """Undo CondenseNet's condensing: a grouped 1x1 convolution of selected channels as the masked one that it was."""
    done = []
    for key in [key for key in arrays if key.endswith(".index") and arrays[key].dtype.kind in "iu"]:
        module, index = key.removesuffix(".index"), arrays[key]
        weight = arrays.get(f"{module}.conv.weight")
        norm = arrays.get(f"{module}.norm.weight", index)
        if weight is None or not _selects(index, weight) or norm.shape != index.shape:  # else it orders the outputs
            continue
        arrays[f"{module}.conv.weight"] = _spread(weight, arrays.pop(key))
        for part in ("weight", "bias", "running_mean", "running_var"):
            name = f"{module}.norm.{part}"
            if name in arrays and arrays[name].shape == index.shape:
                values = np.full_like(arrays[name], part == "running_var")  # of channels that no group reads
                values[index] = arrays[name]
                arrays[name] = values
        done.append("condensed convolutions spread over the channels that they select")
    return done


def _selects(index: Array, weight: Array) -> bool:
    """Return whether ``index`` lists the channels that a grouped convolution with ``weight`` reads."""
    groups, rest = divmod(index.size, max(weight.shape[1], 1)) if weight.ndim == 4 else (0, 0)
    if index.ndim != 1 or rest or not 1 <= groups <= MAX_GROUPS or len(weight) % groups:
        return False
    return bool(index.min() >= 0 and index.max() < len(index))


def _spread(weight: Array, index: Array) -> Array:
    """(out, in of a group, 1, 1) -> (out, in, 1, 1), with zeros where a group does not read a channel."""
    groups = len(index) // weight.shape[1]
    whole = np.zeros((len(weight), len(index), *weight.shape[2:]), weight.dtype)
    for rows, columns in zip(np.split(np.arange(len(weight)), groups), np.split(index, groups), strict=True):
        np.add.at(whole, np.ix_(rows, columns), weight[rows])
    return whole


def _fold_scale_layers(arrays: Arrays) -> list[str]:
    """Fold a Keras ``Scale`` layer into the batch norm of the same name: gamma * (bn(x)) + beta is a batch norm."""
    done = []
    for bn in [key.removesuffix(".running_mean") for key in arrays if key.endswith(".running_mean")]:
        for scale in (re.sub(r"bn(?=[^/.]*$)", "scale", bn), f"{bn}_scale"):
            found = _scale_of(arrays, scale) if scale != bn else None
            if found is None:
                continue
            gamma, beta = (arrays.pop(key) for key in found)
            width = arrays[f"{bn}.running_mean"].shape
            _check_shape(found[0], gamma, width)
            _check_shape(found[1], beta, width)
            arrays[f"{bn}.bias"] = arrays.get(f"{bn}.bias", np.zeros_like(gamma)) * gamma + beta
            arrays[f"{bn}.weight"] = arrays.get(f"{bn}.weight", np.ones_like(gamma)) * gamma
            done.append("scale layers folded into the batch norms before them")
            break
    return done


def _scale_of(arrays: Arrays, scale: str) -> tuple[str, str] | None:
    """Return the keys of a scale layer's gamma and beta, however the reader of the file named them."""
    for gamma, beta in (("weight", "bias"), ("gamma", "beta"), (f"{scale}_gamma", f"{scale}_beta")):
        if f"{scale}.{gamma}" in arrays and f"{scale}.{beta}" in arrays:
            return f"{scale}.{gamma}", f"{scale}.{beta}"
    return None


def _without_gamma(arrays: Arrays) -> list[str]:
    """Give batch norms without learned gamma or beta the 1 and 0 that they compute with.

    A part that other norms of the file have is missing rather than constant, unless both parts are.
    """
    norms = [key.removesuffix(".running_mean") for key in arrays if key.endswith(".running_mean")]
    never = {part for part in ("weight", "bias") if not any(f"{norm}.{part}" in arrays for norm in norms)}
    done = []
    for norm in norms:
        missing = {part for part in ("weight", "bias") if f"{norm}.{part}" not in arrays}
        missing = missing if len(missing) == 2 else missing & never
        for part in missing:
            arrays[f"{norm}.{part}"] = np.full_like(arrays[f"{norm}.running_mean"], part == "weight")
        done += ["batch norms without gamma or beta, which are 1 and 0"] * bool(missing)
    return done


def _check_shape(name: str, array: Array, shape: tuple[int, ...], is_scalar: bool = False) -> None:
    if array.shape != shape and not (is_scalar and array.size == 1):
        raise CheckpointError(f"tensor {name!r} has shape {array.shape}: the tensor it belongs to needs {shape}")


_STEPS: tuple[Callable[[Arrays], list[str]], ...] = (
    dequantize,
    _undo_pruning,
    _undo_spectral_norm,
    _undo_weight_norm,
    _undo_parametrizations,
    _apply_masks,
    _undo_condensing,
    _fold_scale_layers,
    _without_gamma,
)
