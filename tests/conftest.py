"""What the tests share: small networks, and the papers' files where they lie beside the project."""

from __future__ import annotations

import gc
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores, and so do the processes that tests start
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from torch import Tensor, nn

from densenet_core import Checkpoint, DenseNet, DenseNetSpec

BROWSER = "tests/browser/"
LONGEST = {  # some seconds a test: they start processes
    "test_ray_sweep.py",
    "test_distributed.py",
    "test_processes.py",
    "test_prediction_view.py",
    "test_views.py",
    "test_all.py",
    "test_torture.py",
    "test_cuts.py",
}
# A file's mark, or the import that pytest_collection_modifyitems marks for
ALL_SLOW = re.compile(
    r"^(pytestmark = \[?\s*pytest\.mark\.(slow|browser)\b|from streamlit\.testing\.v1 import AppTest\b)", re.MULTILINE
)
SHARED = Path(__file__).resolve().parents[2] / "shared"
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Import the tests without garbage collection, which would take a quarter of the time, and leave out of later
    collections what the imports made: it stays until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files of slow tests alone where these are not run: importing them takes longer than the fast tests."""
    if "not slow" not in config.option.markexpr or not collection_path.name.startswith("test_"):
        return None
    return True if ALL_SLOW.search(collection_path.read_text(encoding="utf-8")) else None


@pytest.hookimpl(tryfirst=True)  # before pytest selects by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the files that draw pages as slow, and put the longest files first.

    So no worker begins a long file when the others are done. Needs ``--no-loadscope-reorder``: pytest-xdist orders
    files by their number of tests otherwise.
    """
    weights: Counter[Path] = Counter()
    for item in items:
        if hasattr(getattr(item, "module", None), "AppTest"):
            item.add_marker("slow")
        weights[item.path] += bool(item.get_closest_marker("slow"))
        if item.get_closest_marker("browser"):
            weights[item.path] += 2000
    for path in weights:
        weights[path] += 1000 * (path.name in LONGEST)
    items.sort(key=lambda item: -weights[item.path])  # stable: the order inside a file stays


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a file's tests, which share its fixtures, to one process, and so all that share the browser."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return BROWSER if file.startswith(BROWSER) else file

    return ByFile(config, log)


def shared_file(name: str) -> Path:
    """A file of the folder beside the project; the test is skipped where it is not there."""
    if not (SHARED / name).exists():
        pytest.skip(f"../shared/{name} is not there")
    return SHARED / name


def trained_like(spec: DenseNetSpec, seed: int = 0) -> DenseNet:
    """A network with random weights and batch-norm statistics that differ from channel to channel."""
    generator = torch.Generator().manual_seed(seed)
    model = DenseNet(spec)
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(noise + 0.5 if "norm" in key else (noise - 0.5) * 0.2)
    return model.eval()


def settled(model: nn.Module, draw: Callable[[], Tensor]) -> nn.Module:
    """The module in evaluation mode, with factors, summands and statistics of norms that are not the initial ones.

    Args:
        draw: returns the images of a pass.
    """
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
    model.train()
    for _ in range(2):
        model(draw())
    return model.eval()


@pytest.fixture
def small_spec() -> DenseNetSpec:
    return DenseNetSpec(block_config=(3, 4, 2), growth_rate=4, num_init_features=8, num_classes=5)


@pytest.fixture
def small_checkpoint(small_spec: DenseNetSpec) -> Checkpoint:
    return Checkpoint(small_spec, trained_like(small_spec).state_dict(), {"dataset": "noise", "seed": 0})
