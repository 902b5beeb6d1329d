"""Would CUDA graphs make the fused network faster? Its passes as one graph, beside the same kernel by kernel."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from densenet_core.hardware import device
from densenet_core.networks.build import build_model
from densenet_core.networks.fused import fuse
from densenet_core.networks.names import spec_from_name
from gpu_stages.stage import Options, Results, run_stage
from gpu_stages.times import PASSES, WARM_UP, seconds_of

ABOUT = "The fused network's passes as one CUDA graph, beside kernel by kernel; fp32 with TF32, medians"
CASES = [
    ("densenet-bc-100-12", 1, 32),
    ("densenet-bc-100-12", 256, 32),
    ("densenet121", 1, 224),
    ("densenet121", 64, 224),
]


@torch.inference_mode()
def run(options: Options, results: Results) -> None:
    """Time both, and compare their scores."""
    if not torch.cuda.is_available():
        results.add(outcome="not run: there is no GPU")
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    for arch, batch, size in CASES:
        model = fuse(build_model(spec_from_name(arch)).to(device()).eval())
        images = torch.randn(batch, 3, size, size, device=device()).contiguous(memory_format=torch.channels_last)
        expected = model(images).clone()
        replay, scores = graph_of(model, images)
        eager = 1000 * statistics.median(seconds_of(partial(model, images), PASSES))
        graph = 1000 * statistics.median(seconds_of(replay, PASSES))
        difference = float((scores - expected).abs().max())
        results.add(case=f"{arch}, batch {batch}", ms=eager, ms_graph=graph, difference=difference)


def graph_of(model: nn.Module, images: Tensor) -> tuple[Callable[[], None], Tensor]:
    """Return what replays a pass over ``images``, and the tensor that then holds its scores."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            model(images)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        scores = model(images)
    return graph.replay, scores


if __name__ == "__main__":
    run_stage(ABOUT, run)
