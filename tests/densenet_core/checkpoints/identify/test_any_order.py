"""Networks that concatenate in any order, each layer in its own: read right from statistics, modules and graphs."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis import connection_weights
from densenet_core import Checkpoint, load_checkpoint
from densenet_core.checkpoints.identify.concat_order import locate_sources
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.identify.shapes.by_shape import find_structure, visible_order
from densenet_core.checkpoints.trace import checkpoint_from_module

STEM, GROWTH, BLOCKS = 7, 5, (3, 4)
Order = Callable[[int, int], list[int]]  # block, number of sources -> the sources as they are concatenated


def input_last(block: int, count: int) -> list[int]:
    return [*range(1, count), 0]


def input_first_then_newest(block: int, count: int) -> list[int]:
    return [0, *range(count - 1, 0, -1)]


def old_first_but_the_output(block: int, count: int) -> list[int]:
    return [*range(count)] if count <= BLOCKS[block] else [*range(count)][::-1]


def one_block_new_first(block: int, count: int) -> list[int]:
    return [*range(count)][:: -1 if block == 0 else 1]


def shuffled(block: int, count: int) -> list[int]:
    return random.Random(10 * block + count).sample(range(count), count)


ORDERS = [input_last, input_first_then_newest, old_first_but_the_output, one_block_new_first, shuffled]


class Concatenating(nn.Module):
    """Units of batch norm, ReLU and a 3x3 convolution, under names of no layout."""

    def __init__(self, order: Order, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.order, width = order, STEM
        self.start = nn.Conv2d(3, STEM, 3, padding=1, bias=False)
        self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
        for block, layers in enumerate(BLOCKS):
            for _ in range(layers):
                self.norms.append(norm(width))
                self.convs.append(nn.Conv2d(width, GROWTH, 3, padding=1, bias=False))
                width += GROWTH
            if block + 1 < len(BLOCKS):
                self.norms.append(norm(width))
                self.convs.append(nn.Conv2d(width, width // 2, 1, bias=False))
                width //= 2
        self.last, self.score = norm(width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        units, x = iter(zip(self.norms, self.convs, strict=True)), self.start(x)
        for block, layers in enumerate(BLOCKS):
            parts = [x]
            for count in range(1, layers + 2):
                joined = torch.cat([parts[source] for source in self.order(block, count)], 1)
                if count <= layers or block + 1 < len(BLOCKS):
                    norm, conv = next(units)
                    parts.append(conv(F.relu(norm(joined))))
            x = F.avg_pool2d(parts[-1], 2) if block + 1 < len(BLOCKS) else joined
        return self.score(F.relu(self.last(x)).mean((2, 3)))

    def mean_weights(self) -> dict[tuple[int, int, int], float]:
        """Mean |w| by block, source and target, cut out of the weights by hand."""
        weights, found, first = iter([*(conv.weight for conv in self.convs), self.score.weight]), {}, STEM
        for block, layers in enumerate(BLOCKS):
            for count in range(1, layers + 2):
                weight, start = next(weights), 0
                for source in self.order(block, count):
                    end = start + (first if source == 0 else GROWTH)
                    found[block + 1, source, count] = float(weight[:, start:end].detach().abs().mean())
                    start = end
            first = (first + layers * GROWTH) // 2
        return found


def trained(order: Order) -> Concatenating:
    """With running statistics of its own passes."""
    torch.manual_seed(0)
    model = Concatenating(order).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 12, 12) + 0.3)
    return model.eval()


def assert_reads(found: Checkpoint, model: Concatenating) -> None:
    columns = ["block", "source_layer", "target_layer", "mean_abs_weight"]
    table = connection_weights(found)[columns].itertuples(index=False)
    assert {tuple(row[:3]): row[3] for row in table} == pytest.approx(model.mean_weights(), rel=1e-5)
    images = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(found.to_model()(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_statistics_show_the_order_of_each_layer(order: Order, tmp_path: Path) -> None:
    model = trained(order)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert found.order == "mixed"
    assert_reads(found, model)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_a_live_module_is_followed(order: Order) -> None:
    torch.manual_seed(0)
    model = Concatenating(order).eval()  # untrained: only the pass shows the order
    found = checkpoint_from_module(model)
    assert found.order == "mixed"
    assert_reads(found, model)


@pytest.mark.slow
@pytest.mark.parametrize("order", [input_last, shuffled])
def test_a_graph_is_followed(order: Order, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from tests.densenet_core.checkpoints.formats.onnx.test_onnx_file import written

    torch.manual_seed(0)
    model = Concatenating(order).eval()
    found = load_checkpoint(written(model, tmp_path / "a.onnx", (1, 3, 16, 16), folding=False))
    assert found.order == "mixed"
    assert_reads(found, model)


def test_group_norms_allow_no_other_order() -> None:
    model = Concatenating(input_last, lambda width: nn.GroupNorm(1 if width % 2 else 2, width))
    found = checkpoint_from_module(model)
    assert isinstance(found.spec, ConcatSpec)
    columns = ["block", "source_layer", "target_layer", "mean_abs_weight"]
    table = connection_weights(found)[columns].itertuples(index=False)
    assert {tuple(row[:3]): row[3] for row in table} == pytest.approx(model.mean_weights(), rel=1e-5)


def test_untrained_statistics_show_nothing(tmp_path: Path) -> None:
    torch.save(Concatenating(input_last).state_dict(), tmp_path / "a.pth")
    assert load_checkpoint(tmp_path / "a.pth").order is None


def test_a_table_alone_claims_no_order_that_a_layer_contradicts() -> None:
    model = trained(old_first_but_the_output)
    tensors = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    structure = find_structure({key: array.shape for key, array in tensors.items()})
    assert visible_order(tensors, structure) is None


def test_what_is_in_two_places_is_not_located() -> None:
    alike = np.ones((2, 6))
    assert locate_sources(alike, (2, 2, 2), {0: alike[:, :2], 1: alike[:, :2]}) is None
