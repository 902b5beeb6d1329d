"""Ablation of every connection: ours beside one evaluation of the network a connection, the plain way.

`python benchmarks/ablation.py`: DenseNet-BC (L=100, k=12), 32 images of 32x32. The plain way sets the source's slice to
zero by a hook and evaluates the network; it is timed on every tenth connection, behind ours in the same process, and
its numbers are compared with ours on these. The multiply-adds of both ways are counted from the shapes, and a profile
of four images shows which part of the time convolutions take: without fewer of them, only the rest can be gained.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import recorded
from analysis.reuse.ablation import connection_ablation
from densenet_core import Checkpoint, DenseNetSpec, create_model
from densenet_core.checkpoints.identify.connectivity import targets
from densenet_core.data.images import TensorImages
from densenet_core.hardware import hardware
from densenet_core.networks.layers import Layer, network_layers

NUM_IMAGES, EVERY = 32, 10


def network() -> nn.Module:
    """With running statistics of some passes, so that the activations are not those of an untrained network."""
    torch.manual_seed(0)
    model = create_model("densenet-bc-100-12").train()
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(64, 3, 32, 32))
    return model.eval()


def conv_mult_adds(spec: DenseNetSpec, size: int) -> tuple[int, int]:
    """Multiply-adds of convolutions for one image: a pass of the network, and all that ablation must compute again.

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
    """The share of ablation's processor time that convolutions take, on four images."""
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


def main() -> None:
    model = network()
    pixels = torch.randint(256, (NUM_IMAGES, 3, 32, 32), dtype=torch.uint8)
    images = TensorImages(pixels, torch.randint(10, (NUM_IMAGES,)), tuple("0123456789"), "cifar10")
    batch, labels = next(images.batches(NUM_IMAGES))
    checkpoint = Checkpoint(model.spec, model.state_dict())
    start = time.perf_counter()
    table = connection_ablation(checkpoint, images, NUM_IMAGES)
    ours = time.perf_counter() - start
    start, cores = time.perf_counter(), os.cpu_count() or 1
    together = connection_ablation(checkpoint, images, NUM_IMAGES, workers=cores)
    by_processes = time.perf_counter() - start
    assert (together["ablation"] - table["ablation"]).abs().max() < 1e-6
    weights = {(target.block, target.layer): target.weight for target in targets(model.spec)}
    plain, worst = 0.0, 0.0
    with torch.inference_mode():
        whole = F.cross_entropy(model(batch), labels).item()
        for row in table.iloc[::EVERY].itertuples():
            low = sum(model.spec.source_channels(row.block)[: row.source_layer])
            undo = without(model, weights[row.block, row.target_layer], low, low + row.num_channels)
            start = time.perf_counter()
            loss = F.cross_entropy(model(batch), labels).item()
            plain += time.perf_counter() - start
            undo()
            worst = max(worst, abs(loss - whole - row.ablation))
    plain *= len(table) / len(table.iloc[::EVERY])
    print(f"{model.spec.title}, {len(table)} connections, {NUM_IMAGES} images of 32x32, {hardware()}")
    print(f"ours {ours:.1f} s; with --workers {cores} {by_processes:.1f} s")
    print(f"an evaluation a connection {plain:.1f} s, {plain / ours:.1f} times as long")
    once, again = conv_mult_adds(model.spec, 32)
    share = share_of_convolutions(checkpoint, images)
    fewer = len(table) * once / again
    print(f"convolutions: {again / 1e9:.1f} billion multiply-adds an image, {fewer:.1f} times fewer than the plain way")
    print(f"convolutions take {share:.0%} of the time")
    case = f"{model.spec.title}, {len(table)} connections, {NUM_IMAGES} images"
    work = {"billion_mult_adds": again / 1e9, "convolutions": share}
    rows = [
        {"case": case, "way": "ours", "ms": 1000 * ours, "times_ours": 1.0, **work},
        {
            "case": case,
            "way": f"ours, --workers {cores}, with their start",
            "ms": 1000 * by_processes,
            "times_ours": by_processes / ours,
        },
        {"case": case, "way": "an evaluation a connection", "ms": 1000 * plain, "times_ours": plain / ours},
    ]
    recorded.write("ablation", "Ablation of every connection, once; the plain way timed on every tenth", rows)
    print(f"largest difference of the loss's change: {worst:.1e} nats")


if __name__ == "__main__":
    main()
