"""What a network costs: parameters, mult_adds, other operations and memory, per layer and in total.

Conventions, once for the whole suite. One fused multiply-add of a convolution or a linear layer is one mult_add; their
biases are not counted. ``flops`` is 2 x mult_adds, as in the paper's Figure 3. Everything else is ``other_ops``, listed
apart because tools differ in it: a batch norm is 2 operations a value (scale and shift), a ReLU or an addition 1, a
pooling 1 for each value that it reads. Bytes are those of float32. All of it is for one image, but for the parameters.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from densenet_core import DenseNetSpec, ResNetSpec
from densenet_core.layers import Layer, network_layers
from densenet_core.models import Spec

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
SUMMED = ("params", "mult_adds", "other_ops", "activation_bytes", "weight_bytes")


def count_cost(network: Spec | nn.Module, input_size: int | None = None) -> pd.DataFrame:
    """Counts every layer of a network: one row a layer, in the order in which they run.

    A network of the suite is counted by arithmetic on its spec; any other module by one pass on PyTorch's meta
    device, which has shapes and no data.

    Args:
        network: a spec, or a module.
        input_size: pixels a side; by default 224 for networks with an ImageNet stem and 32 for the others.

    Returns:
        Columns name, kind, stage, output_shape (channels first, without the batch), params, mult_adds, other_ops
        (0 where a module of other people's is not a norm, a ReLU or a pooling), activation_bytes (the output's),
        weight_bytes.

    Raises:
        ValueError: the input is too small for the network's strides; the least size that works is named.
    """
    spec = getattr(network, "spec", network)
    if isinstance(spec, DenseNetSpec | ResNetSpec):
        layers = network_layers(spec, default_input_size(spec) if input_size is None else input_size)
        rows = [_counted(layer, spatial_dims(spec)) for layer in layers]
        return pd.DataFrame(rows, columns=list(COLUMNS))
    if isinstance(network, nn.Module):
        return _traced(network, 224 if input_size is None else input_size)
    raise ValueError(f"network is a {type(network).__name__}: give a spec or a torch module")


def default_input_size(spec: Spec) -> int:
    """Pixels a side of the images that a network is made for."""
    return 224 if spec.stem == "imagenet" else 32


def spatial_dims(spec: Spec) -> int:
    """Dimensions of a network's images: 2, but for DenseNets of sequences and volumes."""
    return spec.spatial_dims if isinstance(spec, DenseNetSpec) else 2


def total_cost(cost: pd.DataFrame) -> dict[str, int]:
    """The sums over all layers of ``count_cost``'s table, as whole numbers: params, mult_adds, ..."""
    return {column: int(cost[column].sum()) for column in SUMMED}


def _counted(layer: Layer, dims: int) -> tuple[Any, ...]:
    pixels = layer.out_size**dims
    values = layer.out_maps * pixels
    params = mult_adds = other_ops = 0
    if layer.kind == "conv":
        params = layer.in_maps * layer.out_maps * layer.kernel**dims
        mult_adds = params * pixels
    elif layer.kind == "linear":
        mult_adds = layer.in_maps * layer.out_maps
        params = mult_adds + layer.out_maps
    elif layer.kind == "norm":
        params, other_ops = 2 * layer.out_maps, 2 * values
    elif layer.kind in ("relu", "add"):
        other_ops = values
    elif layer.kind in ("max_pool", "avg_pool"):
        other_ops = values * layer.kernel**dims
    elif layer.kind == "global_pool":
        other_ops = layer.in_maps * layer.in_size**dims
    shape = (
        (layer.out_maps,) if layer.kind in ("linear", "global_pool") else (layer.out_maps, *(layer.out_size,) * dims)
    )
    return (
        layer.name,
        layer.kind,
        layer.stage,
        shape,
        params,
        mult_adds,
        other_ops,
        values * BYTES,
        params * BYTES,
    )


def _traced(module: nn.Module, input_size: int) -> pd.DataFrame:
    """One pass of any module on the meta device: leaf modules by hooks, mult_adds by PyTorch's own counter."""
    rows: dict[str, list[Any]] = {}
    names = {child: name for name, child in module.named_modules() if not list(child.children())}

    def record(child: nn.Module, _: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        params = sum(p.numel() for p in child.parameters(recurse=False))
        values = output[0].numel()
        ops = values * {"norm": 2, "relu": 1}.get(_kind(child), 0)
        row = [names[child], _kind(child), names[child].split(".")[0], tuple(output.shape[1:]), params, 0, ops]
        rows.setdefault(names[child], [*row, values * BYTES, params * BYTES])

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
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{type(module).__name__} does not run on {tuple(image.shape)}: {reason}") from None
    finally:
        for hook in hooks:
            hook.remove()
        for child, mode in training.items():
            child.training = mode
    return _with_mult_adds(list(rows.values()), counter.get_flop_counts(), type(module).__name__)


def _with_mult_adds(rows: list[list[Any]], flops: Any, root: str) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    of = {name: sum(counts.values()) // 2 for name, counts in flops.items()}
    table["mult_adds"] = [of.get(f"{root}.{name}", 0) for name in table["name"]]
    elsewhere = of.get("Global", 0) - int(table["mult_adds"].sum())
    if elsewhere:  # in functions that belong to no leaf module, such as attention
        table.loc[len(table)] = ["(functions)", "function", "", (), 0, elsewhere, 0, 0, 0]
    return table


def _kind(module: nn.Module) -> str:
    kinds: dict[str, tuple[type[nn.Module], ...]] = {
        "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
        "linear": (nn.Linear,),
        "norm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
        "relu": (nn.ReLU,),
    }
    return next((kind for kind, types in kinds.items() if isinstance(module, types)), type(module).__name__)
