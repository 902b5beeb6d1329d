"""The cost of any module, by one pass on PyTorch's meta device, which has shapes and no data."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from analysis.architecture.cost import BYTES, COLUMNS
from densenet_core.errors import first_line
from densenet_core.networks.network import evaluation_mode

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "linear": (nn.Linear,),
    "norm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    "relu": (nn.ReLU,),
    "max_pool": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    "avg_pool": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    "global_pool": (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
}


def traced_cost(module: nn.Module, input_size: int) -> pd.DataFrame:
    """Count the leaf modules by hooks and their mult_adds by PyTorch's own counter, and leave the module as it was.

    A row "(elsewhere)" holds what belongs to no leaf module that ran, such as the products of attention, so that the
    totals are complete. A module that runs twice has one row, with the operations of both runs.

    Raises:
        ValueError: The module does not run on one image of this size.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports half of torch's compiler

    rows: dict[str, dict[str, Any]] = {}
    names = {child: name or "(itself)" for name, child in module.named_modules() if not list(child.children())}

    def record(child: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            _add(rows, names[child], child, given, output)

    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    on_meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    image = _image(module, input_size)
    hooks = [child.register_forward_hook(record) for child in names]
    try:
        with evaluation_mode(module), FlopCounterMode(display=False) as counter, torch.no_grad():
            torch.func.functional_call(module, on_meta, (image,))
    except (RuntimeError, AssertionError, TypeError, ValueError, IndexError) as error:
        shape = tuple(image.shape)
        raise ValueError(f"{type(module).__name__} does not run on {shape}: {first_line(error)}") from error
    finally:
        for hook in hooks:
            hook.remove()
    num_params = sum(parameter.numel() for parameter in module.parameters())
    return _as_table(list(rows.values()), counter.get_flop_counts(), type(module).__name__, num_params)


def _image(module: nn.Module, size: int) -> Tensor:
    """Return an image as the first convolution reads it: (1, channels, *sizes)."""
    convs = (child for child in module.modules() if isinstance(child, KINDS["conv"]))
    first: Any = next(convs, None)
    channels, dims = (3, 2) if first is None else (first.in_channels, len(first.kernel_size))
    return torch.empty(1, channels, *(size,) * dims, device="meta")


def _add(rows: dict[str, dict[str, Any]], name: str, module: nn.Module, given: Any, output: Tensor) -> None:
    kind = next((kind for kind, types in KINDS.items() if isinstance(module, types)), type(module).__name__)
    values = output[0].numel()
    if name not in rows:
        params = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        about = {"name": name, "kind": kind, "stage": name.split(".")[0], "output_shape": tuple(output.shape[1:])}
        counts = dict.fromkeys(("mult_adds", "other_ops", "activation_bytes"), 0)
        rows[name] = about | counts | {"params": params, "weight_bytes": params * BYTES}
    rows[name]["other_ops"] += _other_ops(kind, module, given, values)
    rows[name]["activation_bytes"] += values * BYTES


def _other_ops(kind: str, module: Any, given: Any, values: int) -> int:
    """Return the operations beside mult_adds, given the number of output values; 0 for kinds that are not known."""
    if kind in ("max_pool", "avg_pool"):
        kernel = module.kernel_size
        dims = int(type(module).__name__[-2])
        return values * (math.prod(kernel) if isinstance(kernel, tuple) else int(kernel) ** dims)
    if kind == "global_pool":
        return int(given[0][0].numel())
    return values * {"norm": 2, "relu": 1}.get(kind, 0)


def _as_table(rows: list[dict[str, Any]], flops: Any, root: str, num_params: int) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    mult_adds = {name: sum(counts.values()) // 2 for name, counts in flops.items()}
    table["mult_adds"] = [mult_adds.get(root if name == "(itself)" else f"{root}.{name}", 0) for name in table["name"]]
    left = mult_adds.get("Global", 0) - int(table["mult_adds"].sum())
    params = num_params - int(table["params"].sum())
    if left or params:
        table.loc[len(table)] = ["(elsewhere)", "function", "", (), params, left, 0, 0, params * BYTES]
    return table
