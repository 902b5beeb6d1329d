"""How long counting DenseNet-201's cost takes, beside the tools that people use: `python benchmarks/cost.py`.

All run in one process after their imports, in turns; medians. fvcore is a test dependency of the project.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
import torchvision
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from analysis.architecture.cost import count_cost, total_cost
from densenet_core.networks.names import published_spec
from support import recorded

TURNS = 5


def count_by_fvcore(model: nn.Module, image: Tensor) -> int:
    """Return the mult_adds of convolutions and linear layers."""
    counted = FlopCountAnalysis(model, image)
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    by_operator = counted.by_operator()
    return int(by_operator["conv"] + by_operator["linear"])


def count_by_pytorch(model: nn.Module, image: Tensor) -> int:
    """Return the mult_adds of a pass, half of PyTorch's FLOPs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops() // 2)


def main() -> None:
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    spec = published_spec("densenet201")
    model = torchvision.models.densenet201().eval()
    image = torch.zeros(1, 3, 224, 224)
    tools: dict[str, Callable[[], int]] = {
        "count_cost(spec)": lambda: total_cost(count_cost(spec, 224))["mult_adds"],
        "count_cost(torchvision's module)": lambda: total_cost(count_cost(model, 224))["mult_adds"],
        "PyTorch's FlopCounterMode": lambda: count_by_pytorch(model, image),
        "fvcore's FlopCountAnalysis": lambda: count_by_fvcore(model, image),
    }
    counts = {name: tool() for name, tool in tools.items()}
    seconds = recorded.in_turns(tools, TURNS)
    rows = [
        recorded.row("densenet201 at 224x224", name, taken, seconds["count_cost(spec)"], mult_adds=counts[name])
        for name, taken in seconds.items()
    ]
    print(f"{'tool':34}{'mult_adds':>15}{'ms':>10}{'times ours':>12}")
    for row in rows:
        print(f"{row['way']:34}{row['mult_adds']:>15,}{row['ms']:>10.1f}{row['times_ours']:>12.0f}")
    recorded.write("cost", f"Counting multiply-adds, in turns, {TURNS} each; ours: count_cost(spec)", rows)


if __name__ == "__main__":
    main()
