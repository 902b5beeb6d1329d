"""Time and peak memory of inference and of training steps: ours beside torchvision's and timm's, on one device.

The cheapest ways come first and torch.compile, which takes long to begin, last, so that little is lost when the time
ends. Inference is fp32 with TF32, training steps are bf16.
"""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.reuse.ablation import connection_ablation
from densenet_core import Checkpoint, DenseNetSpec
from densenet_core.data.images import TensorImages
from densenet_core.hardware import device
from densenet_core.networks.build import build_model
from densenet_core.networks.fused import fuse
from densenet_core.networks.names import spec_from_name
from gpu_stages.stage import Options, Results, run_stage, wait
from support.peers import torchvision_densenet

ABOUT = "Inference (fp32 with TF32) and training steps (bf16), medians and quartiles of warm passes; peak memory"
WARM_UP, PASSES = 3, 20
ABLATED = 256  # images
OURS = "ours, plain"


class Case(NamedTuple):
    """A network and a batch."""

    arch: str
    batch: int
    size: int  # pixels a side


CASES = (Case("densenet-bc-100-12", 256, 32), Case("densenet121", 64, 224), Case("densenet201", 64, 224))
TINY = (Case("densenet-bc-10-4", 2, 8),)


class Way(NamedTuple):
    """How a network is built and run."""

    build: Callable[[Case], nn.Module]
    channels_last: bool = True
    compiled: bool = False


def run(options: Options, results: Results) -> None:
    """Time every way of every case, and the ablation of every connection."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    cases = TINY if options.tiny else CASES
    passes = 2 if options.tiny else PASSES
    _time_ablation(cases[0], 2 if options.tiny else ABLATED, results)
    for compiled in (False, True):
        if compiled and options.tiny:
            return
        for case in cases:
            for what, ways in (("inference", INFERENCE), ("training step", TRAINING)):
                for name, way in ways.items():
                    if way.compiled == compiled and (name != "timm" or _has_timm(case)):
                        results.add(**_time(what, name, way, case, passes))


def _time(what: str, name: str, way: Way, case: Case, passes: int) -> dict[str, Any]:
    """Return one row; what went wrong is in its column "failed"."""
    row = {"case": f"{case.arch}, batch {case.batch} of {case.size}x{case.size}", "what": what, "way": name}
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        start = time.perf_counter()
        step = _inference(way, case) if what == "inference" else _training(way, case)
        for _ in range(WARM_UP):
            step()
        wait()
        row["first_s"] = time.perf_counter() - start  # building, compiling and warming up
        seconds = list(seconds_of(step, passes))
    except Exception as error:  # the other ways are still timed
        return row | {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    low, middle, high = (1000 * value for value in statistics.quantiles(seconds, n=4))
    peak = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else None
    return row | {"ms": middle, "ms_low": low, "ms_high": high, "peak_mb": peak}


def seconds_of(step: Callable[[], object], passes: int) -> Iterator[float]:
    for _ in range(passes):
        wait()
        start = time.perf_counter()
        step()
        wait()
        yield time.perf_counter() - start


def _inference(way: Way, case: Case) -> Callable[[], object]:
    model, (images, _) = _place(way, case)
    model = model.eval()
    if way is INFERENCE["ours, fused"]:
        model = fuse(model)  # type: ignore[arg-type]
    model = torch.compile(model) if way.compiled else model

    @torch.inference_mode()
    def step() -> Tensor:
        return model(images)

    return step


def _training(way: Way, case: Case) -> Callable[[], object]:
    model, (images, labels) = _place(way, case)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True)
    forward = torch.compile(model.train()) if way.compiled else model.train()

    def step() -> None:
        with torch.autocast(device().type, torch.bfloat16):
            loss = F.cross_entropy(forward(images).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _place(way: Way, case: Case) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """Return the network and a batch on the device, in the way's memory format."""
    torch.manual_seed(0)
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    images = torch.randn(case.batch, 3, case.size, case.size, device=device()).to(memory_format=layout)
    model = way.build(case).to(device(), memory_format=layout)
    return model, (images, torch.randint(10, (case.batch,), device=device()))


def _spec(case: Case) -> DenseNetSpec:
    spec = spec_from_name(case.arch)
    assert isinstance(spec, DenseNetSpec)
    return spec


def _ours(case: Case) -> nn.Module:
    return build_model(_spec(case))


def _ours_saving(case: Case) -> nn.Module:
    return build_model(_spec(case), memory_efficient=True)


def _torchvisions(case: Case, memory_efficient: bool = False) -> nn.Module:
    from torchvision import models

    if _spec(case).stem == "imagenet":
        return getattr(models, case.arch)(memory_efficient=memory_efficient)
    return torchvision_densenet(_spec(case), memory_efficient)


def _torchvisions_saving(case: Case) -> nn.Module:
    return _torchvisions(case, memory_efficient=True)


def _timms(case: Case) -> nn.Module:
    import timm

    return timm.create_model(case.arch)


def _has_timm(case: Case) -> bool:
    return _spec(case).stem == "imagenet" and importlib.util.find_spec("timm") is not None


INFERENCE = {
    OURS: Way(_ours),
    "ours, fused": Way(_ours),
    "torchvision": Way(_torchvisions, channels_last=False),
    "torchvision, channels_last": Way(_torchvisions),
    "timm": Way(_timms),
    "torchvision, torch.compile": Way(_torchvisions, compiled=True),
    "ours, torch.compile": Way(_ours, compiled=True),
}
TRAINING = {
    OURS: Way(_ours),
    "ours, memory_efficient": Way(_ours_saving),
    "torchvision": Way(_torchvisions, channels_last=False),
    "torchvision, channels_last": Way(_torchvisions),
    "torchvision, memory_efficient": Way(_torchvisions_saving),
    "timm": Way(_timms),
    "torchvision, torch.compile": Way(_torchvisions, compiled=True),
    "ours, torch.compile": Way(_ours, compiled=True),
}


def _time_ablation(case: Case, number: int, results: Results) -> None:
    """Time the ablation of all connections of an untrained network: its weights do not change its time."""
    torch.manual_seed(0)
    model = _ours(case)
    pixels = torch.randint(256, (number, 3, case.size, case.size), dtype=torch.uint8)
    images = TensorImages(pixels, torch.randint(10, (number,)), tuple("0123456789"), "cifar10")
    checkpoint = Checkpoint(_spec(case), model.state_dict())
    connection_ablation(checkpoint, images, 1)  # warms up
    wait()
    start = time.perf_counter()
    table = connection_ablation(checkpoint, images, number, batch_size=min(number, 128))
    seconds = time.perf_counter() - start
    what = f"ablation of {len(table)} connections, {number} images"
    results.add(case=case.arch, what=what, way="ours", ms=1000 * seconds)


if __name__ == "__main__":
    run_stage(ABOUT, run)
