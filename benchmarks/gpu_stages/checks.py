"""The computations that must be right on a GPU, each checked against a second way: passed, failed or not run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from ablation import without
from analysis.reuse.ablation import connection_ablation
from densenet_core import Checkpoint, DenseNetSpec, load_checkpoint
from densenet_core.checkpoints.identify.connectivity import targets
from densenet_core.data.augmentation import CIFAR_AUGMENTATION
from densenet_core.data.images import TensorImages
from densenet_core.hardware import device
from densenet_core.networks.build import build_model
from densenet_core.networks.fused import fuse
from densenet_core.training.evaluation import evaluate
from densenet_core.training.runs.files import METRICS, read_metrics
from gpu_stages.stage import Options, Results, run_stage

ABOUT = "Computations on the device against a second way; fp32 without TF32"
ROOT = Path(__file__).parents[2]
SMALL, LARGE = DenseNetSpec((3, 2), 4, 8), DenseNetSpec.cifar(100, 12, bottleneck=True, compression=0.5)
# Trains four epochs; where KILL is set, the process kills itself before it keeps epoch 3.
TRAIN = """
import os, signal, sys, torch
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train
torch.use_deterministic_algorithms(True, warn_only=True)
runs_dir, name, kill = sys.argv[1:]
def end(folder, model, metrics):
    if kill == "kill" and metrics[-1].epoch == 3:
        os.kill(os.getpid(), signal.SIGKILL)
train(TrainingConfig("densenet-7-2", "digits", name, epochs=4, batch_size=256, drop_rate=0.1, runs_dir=runs_dir),
      show_progress=False, on_epoch=end)
"""
# ``lightning_fabric`` under the name that the package ``lightning`` gives it.
SHIM = """
import sys
import lightning.fabric
import lightning.fabric.strategies.ddp
names = [name for name in sys.modules if name.startswith("lightning.fabric")]
sys.modules.update({name.replace("lightning.fabric", "lightning_fabric"): sys.modules[name] for name in names})
"""


class NotRun(Exception):
    """A check lacks what it needs; the message says what."""


def run(options: Options, results: Results) -> None:
    """Run every check; one that fails does not stop the others."""
    for name, check in CHECKS.items():
        start = time.perf_counter()
        try:
            with exact_products():
                outcome, detail = "passed", check(options)
        except NotRun as why:
            outcome, detail = "not run", str(why)
        except Exception as error:  # a failed check is a result
            outcome, detail = "failed", f"{type(error).__name__}: {error}"
        results.add(check=name, outcome=outcome, detail=detail, seconds=time.perf_counter() - start)


@contextmanager
def exact_products() -> Iterator[None]:
    """Compute products in fp32 without TF32, which rounds to ten bits."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = False
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


def check_fused(options: Options) -> str:
    """Check that the fused network has the scores of the plain one."""
    model, images = _network(options), _images(options, 64)
    batch, _ = next(images.to(device()).batches(64))
    with torch.inference_mode():
        return _require_close(fuse(model)(batch), model(batch), 1e-4)


def check_memory_efficient(options: Options) -> str:
    """Check that training without concatenations has the gradients and running statistics of the plain network."""
    plain = _network(options)
    saving = build_model(plain.spec, memory_efficient=True).to(device())
    saving.load_state_dict(plain.state_dict())
    batch, labels = next(_images(options, 32).to(device()).batches(32))
    for model in (plain, saving):
        F.cross_entropy(model.train()(batch), labels).backward()
    others = dict(saving.named_parameters())
    found = [_require_close(others[name].grad, own.grad, 1e-3) for name, own in plain.named_parameters()]
    moved = zip(saving.buffers(), plain.buffers(), strict=True)
    found += [_require_close(theirs, own, 1e-4) for theirs, own in moved if own.is_floating_point()]
    return f"{len(found)} tensors; {max(found, key=lambda text: float(text.split()[-1]))}"


def check_ablation(options: Options) -> str:
    """Check every connection's ablation against the loss when a hook sets the source's channels to zero."""
    model, images = _network(options, SMALL), _images(options, 40)
    table = connection_ablation(Checkpoint(model.spec, model.cpu().state_dict()), images, 40)
    model, (batch, labels) = model.to(device()), next(images.to(device()).batches(40))
    weights = {(target.block, target.layer): target.weight for target in targets(model.spec)}
    changes = []
    with torch.inference_mode():
        whole = F.cross_entropy(model(batch), labels)
        for row in table.itertuples():
            low = sum(model.spec.source_channels(row.block)[: row.source_layer])
            undo = without(model, weights[row.block, row.target_layer], low, low + row.num_channels)
            changes.append(F.cross_entropy(model(batch), labels) - whole)
            undo()
    expected = torch.stack(changes).cpu().double()
    return f"{len(table)} connections; " + _require_close(torch.tensor(table["ablation"].to_numpy()), expected, 1e-3)


def check_evaluate(options: Options) -> str:
    """Check that loss and errors on the device are those on the CPU."""
    model, images = _network(options, SMALL), _images(options, 200)
    on_device, on_cpu = evaluate(model, images.to(device())), evaluate(model.cpu(), images)
    if abs(on_device.top1_error - on_cpu.top1_error) > 0.5:
        raise AssertionError(f"error {on_device.top1_error} on the device, {on_cpu.top1_error} on the CPU")
    return _require_close(torch.tensor([on_device.loss]), torch.tensor([on_cpu.loss]), 1e-4)


def check_augmentation(options: Options) -> str:
    """Check that a seed mirrors and shifts images on the device as on the CPU."""
    images = _images(options, 100)
    batches = [next(own.batches(100, torch.Generator().manual_seed(3)))[0] for own in (images, images.to(device()))]
    return _require_close(batches[1], batches[0], 1e-6)


def check_resume(options: Options) -> str:
    """Check that a run that was killed and resumed ends with the numbers of one that was left alone."""
    if options.tiny:
        raise NotRun("left out with --tiny")
    with tempfile.TemporaryDirectory() as folder:
        environment = _training_environment(Path(folder))
        for name, kill in (("whole", ""), ("killed", "kill"), ("killed", "")):
            command = [sys.executable, "-c", TRAIN, folder, name, kill]
            ended = subprocess.run(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True).returncode
            if ended not in ((-9,) if kill else (0,)):
                raise AssertionError(f"the training ended with {ended}")
        runs = [Path(folder) / name for name in ("whole", "killed")]
        rows = [[(m.epoch, m.loss, m.error) for m in read_metrics(run / METRICS)] for run in runs]
        weights = [load_checkpoint(run).state_dict for run in runs]
        close = [_require_close(weights[1][key], own, 1e-3) for key, own in weights[0].items() if own.dim()]
    worst = max(close, key=lambda text: float(text.split()[-1]))
    return f"metrics {'equal' if rows[0] == rows[1] else 'differ'}; {worst}"


def _training_environment(folder: Path) -> dict[str, str]:
    """Return the environment in which ``train`` finds lightning_fabric.

    Raises:
        NotRun: there is none.
    """
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    if importlib.util.find_spec("lightning_fabric") is None:
        if importlib.util.find_spec("lightning") is None:
            raise NotRun("neither lightning_fabric nor lightning is installed")
        (shim := folder / "shim" / "lightning_fabric").mkdir(parents=True)
        (shim / "__init__.py").write_text(SHIM)
        paths.insert(0, str(shim.parent))
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


CHECKS: dict[str, Callable[[Options], str]] = {
    "inference, fused against plain": check_fused,
    "gradients, memory_efficient against plain": check_memory_efficient,
    "ablation against one pass per connection": check_ablation,
    "evaluation, device against CPU": check_evaluate,
    "augmentation, device against CPU": check_augmentation,
    "resume after a kill": check_resume,
}


def _network(options: Options, spec: DenseNetSpec | None = None) -> nn.Module:
    """Return a network with running statistics of some passes, in evaluation mode, on the device."""
    torch.manual_seed(0)
    model = build_model(spec or (SMALL if options.tiny else LARGE)).to(device()).train()
    size = _size(options)
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(16, 3, size, size, device=device()))
    return model.eval()


def _size(options: Options) -> int:
    return 8 if options.tiny else 32


def _images(options: Options, number: int) -> TensorImages:
    number = min(number, 8) if options.tiny else number
    size, generator = _size(options), torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (number, 3, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (number,), generator=generator)
    return TensorImages(pixels, labels, tuple("0123456789"), "cifar10", CIFAR_AUGMENTATION)


def _require_close(found: torch.Tensor | None, expected: torch.Tensor | None, at_most: float) -> str:
    """Return the largest difference over the largest value; raise AssertionError where it is above ``at_most``."""
    assert found is not None and expected is not None
    a, b = (tensor.detach().cpu().double() for tensor in (found, expected))
    difference = float((a - b).abs().max() / b.abs().max().clamp(min=1e-12))
    if not difference <= at_most:
        raise AssertionError(f"relative difference {difference:.1e}, at most {at_most:.0e} is allowed")
    return f"relative difference {difference:.1e}"


if __name__ == "__main__":
    run_stage(ABOUT, run)
