"""The cost of any module, by one pass on PyTorch's meta device, which has shapes and no data."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

BYTES = 4  # of a float32
COLUMNS = (
    "name",
    "kind",
    "stage",
    "output_shape",
    "params",
    "mult_adds",
    "other_ops",
    "activation_bytes",
    "weight_bytes",
)
OPS_A_VALUE = {"norm": 2, "relu": 1}  # of the modules' outputs; other kinds of other people's modules have none
KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "linear": (nn.Linear,),
    "norm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    "relu": (nn.ReLU,),
}


def traced_cost(module: nn.Module, input_size: int) -> pd.DataFrame:
    """Counts a module that is left as it was: leaf modules by hooks, mult_adds by PyTorch's own counter.

    What belongs to no leaf module that ran (attention's matrices, tokens, positions) stands in a row "(elsewhere)", so
    that the totals are whole. A module that runs twice has one row, with the operations of both.

    Raises:
        ValueError: the module does not run on one image of this size.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports half of torch's compiler

    rows: dict[str, list[Any]] = {}
    names = {child: name or "(itself)" for name, child in module.named_modules() if not list(child.children())}

    def record(child: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            _add(rows, names[child], child, output)

    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    on_meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    first = next((p for p in module.parameters() if p.dim() == 4), None)
    image = torch.empty(1, 3 if first is None else first.shape[1], input_size, input_size, device="meta")
    hooks = [child.register_forward_hook(record) for child in names]
    training = {child: child.training for child in module.modules()}
    try:
        module.eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            torch.func.functional_call(module, on_meta, (image,))
    except (RuntimeError, AssertionError, TypeError, ValueError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{type(module).__name__} does not run on {tuple(image.shape)}: {reason}") from None
    finally:
        for hook in hooks:
            hook.remove()
        for child, mode in training.items():
            child.training = mode
    num_params = sum(parameter.numel() for parameter in module.parameters())
    return _whole(list(rows.values()), counter.get_flop_counts(), type(module).__name__, num_params)


def _add(rows: dict[str, list[Any]], name: str, module: nn.Module, output: Tensor) -> None:
    kind = next((kind for kind, types in KINDS.items() if isinstance(module, types)), type(module).__name__)
    values = output[0].numel()
    ops, activation = values * OPS_A_VALUE.get(kind, 0), values * BYTES
    if name in rows:
        rows[name][6] += ops
        rows[name][7] += activation
        return
    params = sum(parameter.numel() for parameter in module.parameters(recurse=False))
    stage, shape = name.split(".")[0], tuple(output.shape[1:])
    rows[name] = [name, kind, stage, shape, params, 0, ops, activation, params * BYTES]


def _whole(rows: list[list[Any]], flops: Any, root: str, num_params: int) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    mult_adds = {name: sum(counts.values()) // 2 for name, counts in flops.items()}
    table["mult_adds"] = [mult_adds.get(root if name == "(itself)" else f"{root}.{name}", 0) for name in table["name"]]
    left = mult_adds.get("Global", 0) - int(table["mult_adds"].sum())
    params = num_params - int(table["params"].sum())
    if left or params:
        table.loc[len(table)] = ["(elsewhere)", "function", "", (), params, left, 0, 0, params * BYTES]
    return table
