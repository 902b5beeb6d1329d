"""Ablation of every connection: ours beside one evaluation of the network a connection, the plain way.

`python benchmarks/ablation.py`: DenseNet-BC (L=100, k=12), 32 images of 32x32. The plain way sets the source's slice to
zero by a hook and evaluates the network; it is timed on every tenth connection, behind ours in the same process, and
its numbers are compared with ours on these.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import recorded
from analysis.reuse.ablation import connection_ablation
from densenet_core import Checkpoint, create_model
from densenet_core.checkpoints.identify.connectivity import targets
from densenet_core.data.images import TensorImages
from densenet_core.hardware import hardware

NUM_IMAGES, EVERY = 32, 10


def network() -> nn.Module:
    """With running statistics of some passes, so that the activations are not those of an untrained network."""
    torch.manual_seed(0)
    model = create_model("densenet-bc-100-12").train()
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(64, 3, 32, 32))
    return model.eval()


def without(model: nn.Module, weight: str, low: int, high: int) -> Callable[[], None]:
    """Cuts these input channels of the layer that has this weight; gives back what undoes it."""

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
    table = connection_ablation(checkpoint, images, NUM_IMAGES, batch_size=NUM_IMAGES)
    ours = time.perf_counter() - start
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
    print(f"ours {ours:.1f} s; an evaluation a connection {plain:.1f} s, {plain / ours:.1f} times as long")
    case = f"{model.spec.title}, {len(table)} connections, {NUM_IMAGES} images"
    rows = [
        {"case": case, "way": "ours", "ms": 1000 * ours, "times_ours": 1.0},
        {"case": case, "way": "an evaluation a connection", "ms": 1000 * plain, "times_ours": plain / ours},
    ]
    recorded.write("ablation", "Ablation of every connection, once; the plain way timed on every tenth", rows)
    print(f"largest difference of the loss's change: {worst:.1e} nats")


if __name__ == "__main__":
    main()
