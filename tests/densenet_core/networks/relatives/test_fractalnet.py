from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from analysis.architecture.paths import path_counts
from densenet_core import load_checkpoint
from densenet_core.data.datasets import load_splits
from densenet_core.networks.build import build_model, create_model
from densenet_core.networks.relatives.fractalnet import FractalNet, SingleColumn
from densenet_core.networks.relatives.fractalnet_spec import FractalNetSpec
from densenet_core.training.evaluation import evaluate


def num_params(spec: FractalNetSpec) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(spec).parameters())


@pytest.mark.slow
def test_both_parameter_counts_of_the_21_layers() -> None:
    """The plain count by hand, and the one with 1x1 convolutions that gives the 38.6M that the authors print."""
    spec = FractalNetSpec.published(21)
    by_hand, maps = 512 * 10 + 10, 3
    for width in (64, 128, 256, 512, 512):
        by_hand += 3 * 9 * maps * width + 4 * 9 * width**2 + 7 * 2 * width  # 3 of the 7 convolutions read the input
        maps = width
    assert num_params(spec) == by_hand == 33_724_618
    assert round(num_params(replace(spec, widens_apart=True)) / 1e6, 1) == 38.6
    assert spec.depth == 21


def naive(block: nn.Module, z: torch.Tensor) -> torch.Tensor:
    """Three columns as the paper draws them (Figure 1), joins that follow each other taken as one."""
    c1, c2, c3 = block.column1, block.column2, block.column3
    middle = (c3[1](c3[0](z)) + c2[0](z)) / 2
    return (c3[3](c3[2](middle)) + c2[1](middle) + c1[0](z)) / 3


def test_a_block_is_the_papers() -> None:
    torch.manual_seed(0)
    model = create_model("fractalnet-2-3-4").eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        expected = nn.functional.max_pool2d(naive(model.block1, x), 2)
        expected = nn.functional.max_pool2d(naive(model.block2, expected), 2)
        torch.testing.assert_close(model(x), model.fc(expected.mean((2, 3))))


@pytest.mark.slow
def test_shapes_and_the_least_image() -> None:
    model = create_model("fractalnet-3-2-4", num_classes=7, in_channels=1).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, 1, 11, 11)).shape == (2, 7)
        assert create_model("fractalnet-21").eval()(torch.randn(1, 3, 32, 32)).shape == (1, 10)
        apart = build_model(replace(FractalNetSpec.small(3, 2, 4), widens_apart=True)).eval()
        assert apart(torch.randn(1, 3, 8, 8)).shape == (1, 10)


def drawn_joins(spec: FractalNetSpec, steps: int) -> list[list[tuple[bool, ...]]]:
    """Of each training step, which inputs each join of one block keeps."""
    model = build_model(spec).train()
    found = []
    for _ in range(steps):
        join, kept = model._draw_join(), []
        for row in range(1, spec.rows + 1):
            columns = list(spec.columns_ending_at(row))
            ones = [torch.full((1,), float(2**i)) for i in range(len(columns))]  # each sum has one set of terms
            value = join(ones, columns).item()
            subsets = [[i for i in range(len(columns)) if n >> i & 1] for n in range(1, 2 ** len(columns))]
            subset = next(s for s in subsets if value == pytest.approx(sum(2**i for i in s) / len(s)))
            kept.append(tuple(i in subset for i in range(len(columns))))
        found.append(kept)
    return found


def test_global_drop_path_leaves_one_column_of_all_alike() -> None:
    torch.manual_seed(0)
    steps = drawn_joins(FractalNetSpec((4,), 3, global_share=1.0), 300)
    left = Counter(kept[-1] for kept in steps)  # the last join has all three columns
    assert set(left) == {(True, False, False), (False, True, False), (False, False, True)}
    assert min(left.values()) > 70  # 100 each are expected


def test_local_drop_path_drops_inputs_by_chance_but_never_all() -> None:
    torch.manual_seed(0)
    steps = drawn_joins(FractalNetSpec((4,), 3, global_share=0.0, local_drop=0.5), 400)
    last = [kept[-1] for kept in steps]
    assert all(any(kept) for kept in last)
    # of three inputs 1.5 are kept on average, and one more in the eighth of the steps that would lose all
    assert sum(map(sum, last)) / 400 == pytest.approx(1.625, abs=0.15)
    assert all(kept[0] == (True,) for kept in steps)  # a single input is always kept


def test_under_global_drop_path_training_computes_the_single_column() -> None:
    torch.manual_seed(0)
    model = build_model(FractalNetSpec((4, 8), 3, global_share=1.0)).train()
    x = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        columns = [model.forward_column(x, c) for c in (1, 2, 3)]
        for _ in range(5):
            scores = model(x)
            assert any(torch.allclose(scores, column, atol=1e-5) for column in columns)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())  # several processes need one for every weight


def test_paths_and_depths_of_columns() -> None:
    counts = path_counts(FractalNetSpec((4,), 3)).set_index("length")["num_paths"].to_dict()
    # behind the classifier's own layer: 1; and (2 or 1, then 2 or 1) twice
    assert counts == {2: 1, 3: 1, 4: 2, 5: 1}
    assert path_counts(FractalNetSpec.published(21))["length"].max() == 21
    with pytest.raises(ValueError, match="column 4 must be from 1 to 3"):
        SingleColumn(build_model(FractalNetSpec((4,), 3)), 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: create_model("fractalnet-20"),
            "depth 20 is not 21, the published one: for others use fractalnet-BLOCKS-COLUMNS",
        ),
        (lambda: FractalNetSpec((4,), 2, local_drop=1.0), r"local_drop 1\.0 must be at least 0 and below 1"),
        (lambda: FractalNetSpec((4,), 2, global_share=1.5), r"global_share 1\.5 must be from 0 to 1"),
        (lambda: FractalNetSpec((4, 0), 2), "widths .* must contain whole numbers, 1 or more"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.slow
def test_it_learns_digits_and_so_do_its_columns(learns_digits: Callable[..., Path]) -> None:
    found = load_checkpoint(learns_digits("fractalnet-2-2-8", epochs=8))
    network, test = found.to_model(), load_splits("digits").test
    assert isinstance(network, FractalNet)
    assert all(evaluate(SingleColumn(network, column), test).top1_error < 20 for column in (1, 2))
