"""Ablation of every connection: ours beside one evaluation of the network a connection, the plain way.

`python benchmarks/ablation.py`: DenseNet-BC (L=100, k=12), images of 32x32, in this process, in one thread, and with a
process for each core; and DenseNet-121 on two images of 224x224. Times are per image. The plain way sets the source's
slice to zero by a hook and evaluates the network; it is timed on every tenth connection, and its numbers are compared
with ours. The multiply-adds of both ways are counted from the shapes, beside the rate of a matrix product in the same
run. The estimate of the time left that the command prints is compared with the time that was left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.reuse.ablation import connection_ablation
from app.time_left import TimeLeft
from densenet_core import Checkpoint, DenseNetSpec, create_model
from densenet_core.checkpoints.identify.connectivity import targets
from densenet_core.data.images import TensorImages
from densenet_core.hardware import hardware
from densenet_core.networks.layers import Layer, network_layers
from support import recorded

NUM_IMAGES, BATCH, EVERY = 4, 2, 10
LARGE, NUM_LARGE = "densenet121", 2
ESTIMATED_AFTER = 60.0  # seconds of a measurement, or half of it if that is shorter
PRODUCT = 1024  # side of the matrices whose product shows the processor's rate


def network() -> nn.Module:
    """Return a network with running statistics of some passes, whose activations are not those of an untrained one."""
    torch.manual_seed(0)
    model = create_model("densenet-bc-100-12").train()
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(64, 3, 32, 32))
    return model.eval()


def conv_mult_adds(spec: DenseNetSpec, size: int) -> tuple[int, int]:
    """Count the multiply-adds of convolutions for one image: of a pass, and of all that ablation must compute again.

    A cut changes its target's output and with it, in all later layers of the block, the maps of the layers from the
    target on. What follows the block is computed as a whole. Transitions pool before they convolve.
    """
    blocks, changed = [0] * (len(spec.block_config) + 1), 0  # blocks: with the transition after each; 0: the stem
    layers = [layer for layer in network_layers(spec, size) if layer.kind == "conv"]
    for layer in layers:
        after_stem = int(layer.stage.removeprefix("block").removeprefix("transition")) if layer.stage != "stem" else 0
        blocks[after_stem] += _once(layer)
    for block, number in enumerate(spec.block_config, start=1):
        following = sum(blocks[block + 1 :])
        names = [f"denseblock{block}.denselayer{target}." for target in range(number + 1)]
        targets_of = [[layer for layer in layers if name in layer.name] for name in names]
        targets_of.append([layer for layer in layers if layer.stage == f"transition{block}"])
        for target in range(1, number + 2):
            again = sum(_once(layer) for layer in targets_of[target][1:])
            for later in range(target + 1, number + 2):
                for place, layer in enumerate(targets_of[later]):
                    share = (later - target) * spec.growth_rate / layer.in_maps if place == 0 else 1
                    again += round(_once(layer) * share)
            changed += target * (again + following)  # the target has as many sources as its number
    return sum(blocks), changed


def _once(layer: Layer) -> int:
    positions = (layer.out_size // (2 if layer.stage.startswith("transition") else 1)) ** 2
    return layer.in_maps * layer.out_maps * layer.kernel**2 * positions


def share_of_convolutions(checkpoint: Checkpoint, images: TensorImages) -> float:
    """Return the share of ablation's processor time that convolutions take, on four images."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        connection_ablation(checkpoint, images, 4, batch_size=4)
    events = profile.key_averages()
    own = {event.key: event.self_cpu_time_total for event in events if event.key.startswith("aten::")}
    return sum(time for key, time in own.items() if "conv" in key) / sum(own.values())


def without(model: nn.Module, weight: str, low: int, high: int) -> Callable[[], None]:
    """Cut these input channels of the layer with this weight; return a function that undoes it."""

    def cut(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        changed = inputs[0].clone()
        changed[:, low:high] = 0
        return (changed,)

    return model.get_submodule(weight.removesuffix(".weight")).register_forward_pre_hook(cut).remove


def images_of(number: int, size: int) -> TensorImages:
    """Return random images with random labels."""
    pixels = torch.randint(256, (number, 3, size, size), dtype=torch.uint8)
    return TensorImages(pixels, torch.randint(10, (number,)), tuple("0123456789"), "cifar10")


def product_rate() -> float:
    """Return the billion multiply-adds in a second of processor time of a product of matrices."""
    left, right = torch.randn(PRODUCT, PRODUCT), torch.randn(PRODUCT, PRODUCT)
    torch.mm(left, right)
    start = time.process_time()
    for _ in range(5):
        torch.mm(left, right)
    return 5 * PRODUCT**3 / 1e9 / (time.process_time() - start)


def timed_row(case: str, way: str, seconds: float, ours: float, **more: float) -> dict[str, Any]:
    """Return a row of the result from the seconds for an image."""
    return {"case": case, "way": way, "ms": 1000 * seconds, "times_ours": seconds / ours, **more}


class Timed:
    """An ablation with its wall-clock and processor seconds for an image, and the estimate of the time left."""

    def __init__(self, checkpoint: Checkpoint, images: TensorImages, threads: int = 0, workers: int = 1) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        left, self.estimates = TimeLeft(), list[tuple[float, float]]()
        start, spent = time.perf_counter(), time.process_time()

        def on_batch(done: int, total: int) -> None:
            left.report(done, total)
            if (seconds := left.seconds()) is not None:
                self.estimates.append((time.perf_counter() - start, seconds))

        self.table = connection_ablation(
            checkpoint, images, len(images), batch_size=BATCH, on_batch=on_batch, workers=workers
        )
        self.took, self.spent = time.perf_counter() - start, time.process_time() - spent
        self.number = len(images)
        torch.set_num_threads(before)

    def row(self, case: str, way: str, ours: float, **more: float) -> dict[str, Any]:
        """Return a row of the result; ``ours``: seconds for an image."""
        return timed_row(case, way, self.took / self.number, ours, **more)

    def estimate(self) -> dict[str, float]:
        """Return the estimate of the time left after a minute, or at half of the time, as a share of what was left."""
        moment = min(ESTIMATED_AFTER, self.took / 2)
        found = next(((at, left) for at, left in self.estimates if at >= moment), None)
        return (
            {} if found is None else {"estimated_at_s": found[0], "estimate_ratio": found[1] / (self.took - found[0])}
        )


def plain_way(model: nn.Module, table: pd.DataFrame, images: TensorImages) -> tuple[float, float]:
    """Return the seconds of an evaluation for each connection, and the largest difference of the loss's change."""
    batch, labels = next(images.batches(len(images)))
    weights = {(target.block, target.layer): target.weight for target in targets(model.spec)}
    took, worst = 0.0, 0.0
    with torch.inference_mode():
        whole = F.cross_entropy(model(batch), labels).item()
        for row in table.iloc[::EVERY].itertuples():
            low = sum(model.spec.source_channels(row.block)[: row.source_layer])
            undo = without(model, weights[row.block, row.target_layer], low, low + row.num_channels)
            start = time.perf_counter()
            loss = F.cross_entropy(model(batch), labels).item()
            took += time.perf_counter() - start
            undo()
            worst = max(worst, abs(loss - whole - row.ablation))
    return took * len(table) / len(table.iloc[::EVERY]), worst


def main() -> None:
    rows, facts = small_rows(network())
    about = f"Ablation of every connection, once, {NUM_IMAGES} images; the plain way on every tenth connection"
    recorded.write("ablation", about, rows)  # the large network may take too long
    rows.append(large_row())
    print(f"{hardware()}, {NUM_IMAGES} images of 32x32, {NUM_LARGE} of 224x224")
    for row in rows:
        print("\n  ".join(f"{key}: {value}" for key, value in row.items()))
    for fact in facts:
        print(fact)
    recorded.write("ablation", about, rows)


def small_rows(model: nn.Module) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of a network for CIFAR, and how the plain way's work and numbers compare with ours."""
    images, checkpoint = images_of(NUM_IMAGES, 32), Checkpoint(model.spec, model.state_dict())
    connection_ablation(checkpoint, images, 1)  # imports and first allocations
    cores = os.cpu_count() or 1
    ours = Timed(checkpoint, images)
    single = Timed(checkpoint, images.subset(torch.arange(NUM_IMAGES // 2)), threads=1)
    together = Timed(checkpoint, images, workers=cores)
    plain, worst = plain_way(model, ours.table, images)
    once, again = conv_mult_adds(model.spec, 32)
    case, each = f"{model.spec.title}, {len(ours.table)} connections, an image", ours.took / NUM_IMAGES
    work = {"billion_mult_adds": again / 1e9, "cpu_s": ours.spent / NUM_IMAGES, "product_rate": product_rate()}
    apart = float((together.table["ablation"] - ours.table["ablation"]).abs().max())
    rows = [
        ours.row(case, "ours", each, **work, **ours.estimate(), convolutions=share_of_convolutions(checkpoint, images)),
        single.row(case, "ours, one thread", each, cpu_s=single.spent / single.number, **single.estimate()),
        together.row(case, f"ours, --workers {cores}, with their start", each, apart=apart, **together.estimate()),
        timed_row(case, "an evaluation a connection", plain / NUM_IMAGES, each),
    ]
    fewer = f"{len(ours.table) * once / again:.1f} times fewer multiply-adds than the plain way"
    return rows, [fewer, f"largest difference of the loss's change: {worst:.1e} nats"]


def large_row() -> dict[str, Any]:
    """Return the row of a network for ImageNet."""
    torch.manual_seed(0)
    model = create_model(LARGE, 10).eval()
    timed = Timed(Checkpoint(model.spec, model.state_dict()), images_of(NUM_LARGE, 224))
    _, again = conv_mult_adds(model.spec, 224)
    case = f"{model.spec.title}, {len(timed.table)} connections, an image of 224x224"
    return timed.row(case, "ours", timed.took / NUM_LARGE, billion_mult_adds=again / 1e9, cpu_s=timed.spent / NUM_LARGE)


if __name__ == "__main__":
    main()
