"""Training in two processes that share every batch (gloo), as torchrun starts them."""

from __future__ import annotations

import copy
import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from densenet_core.data.datasets import load_splits
from densenet_core.errors import RunError
from densenet_core.networks.build import create_model
from densenet_core.training import distributed
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train_epoch
from densenet_core.training.runs.files import read_metrics
from tests.processes import Child, command, start

pytestmark = pytest.mark.slow
TRAIN = ("train", "--arch", "densenet-7-2", "--name", "demo", "--batch-size", "256")
EPOCHS = ("--epochs", "8")


def start_two(folder: Path, *work: Sequence[object]) -> list[Child]:
    """Two processes of one training: the same work twice, or one each.

    Args:
        work: the words of a command, or a function and its arguments.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    together = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    together |= {"TORCHELASTIC_RUN_ID": "test"}
    children = []
    for rank in range(2):
        own = work[rank % len(work)]
        launch = start if callable(own[0]) else command
        log = folder / f"rank{rank}.log"
        children.append(launch(*own, log=log, RANK=str(rank), LOCAL_RANK=str(rank), **together))
    return children


def finish(children: list[Child]) -> list[str]:
    """What each said on its standard error."""
    said = [child.wait() for child in children]
    assert [child.process.exitcode for child in children] == [0, 0], said
    return said


def train_an_epoch(file: Path) -> None:
    """Train on the process's half of every batch in float64, and save the weights on rank 0."""
    distributed.FABRIC_PRECISION["fp32"] = "64-true"
    fabric = distributed.launch()
    torch.manual_seed(0)
    model = create_model("densenet-7-2", in_channels=1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    wrapped, stepping = fabric.setup(model, optimizer)
    config = TrainingConfig("densenet-7-2", "digits", "demo")
    train_epoch(fabric, wrapped, stepping, load_splits("digits", augment=True).train, config, epoch=1)
    distributed.average_running_statistics(fabric, model)
    distributed.on_first(fabric, lambda: torch.save(model.state_dict(), file))


def alone_by_halves() -> torch.nn.Module:
    """An epoch in one process that normalizes each half of every batch by its own statistics; the running ones are the
    halves' mean."""
    torch.manual_seed(0)
    model = create_model("densenet-7-2", in_channels=1).double().train()
    twin = copy.deepcopy(model)  # holds the second half's running statistics
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    for images, labels in load_splits("digits", augment=True).train.batches(64, torch.Generator().manual_seed(1)):
        optimizer.zero_grad()
        for part, holder in enumerate((model, twin)):
            half, own_labels = images.tensor_split(2)[part].double(), labels.tensor_split(2)[part]
            scores = torch.func.functional_call(model, dict(holder.named_buffers()), (half,)).float()
            loss = F.cross_entropy(scores, own_labels) * (len(own_labels) * 2 / len(labels))
            (loss / 2).backward()
        optimizer.step()
    for own, other in zip(model.buffers(), twin.buffers(), strict=True):
        if own.is_floating_point():
            own.copy_((own + other) / 2)
    return model


def test_two_processes_train_as_one_that_normalizes_each_half_by_itself(tmp_path: Path) -> None:
    finish(start_two(tmp_path, (train_an_epoch, tmp_path / "together.pt")))
    together = torch.load(tmp_path / "together.pt", weights_only=True)
    # 22 steps in float64: a step's rounding of 1e-16, which training at this rate makes some 1e5 times larger (in
    # float32 a rounding of 1e-7 becomes 1e-2 in the same 22 steps). One process's share alone would differ by 1e-1.
    for name, expected in alone_by_halves().state_dict().items():
        torch.testing.assert_close(
            together[name], expected, rtol=1e-9, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a training whose processes were given a folder each, and what they said."""
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, finish(
        start_two(folder, *((*TRAIN, *EPOCHS, "--runs", folder / f"runs{rank}") for rank in range(2)))
    )


def test_the_first_process_alone_writes(unbroken: tuple[Path, list[str]]) -> None:
    folder, said = unbroken
    assert (folder / "runs0" / "demo" / "model.safetensors").exists()
    assert not (folder / "runs1").exists()
    assert said[1] == ""


def test_when_one_is_killed_the_other_says_so_and_the_run_goes_on(
    unbroken: tuple[Path, list[str]], tmp_path: Path
) -> None:
    words = (*TRAIN, *EPOCHS, "--runs", tmp_path)
    last = tmp_path / "demo" / "last.ckpt"
    first, second = start_two(tmp_path, words)
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    second.process.kill()
    said = first.wait(60).replace("\n", " ")
    assert first.process.exitcode == 2
    assert "another of the 2 processes of this training ended; the run folder" in said
    assert "Traceback" not in said
    assert 1 <= torch.load(last, weights_only=True)["epoch"] < int(EPOCHS[1])
    finish(start_two(tmp_path, words))
    a, b = (read_metrics(folder / "demo" / "metrics.csv") for folder in (unbroken[0] / "runs0", tmp_path))
    assert [(m.epoch, m.split, m.loss, m.error) for m in a] == [(m.epoch, m.split, m.loss, m.error) for m in b]


def test_an_error_of_the_first_process_ends_all_with_the_same_sentence(tmp_path: Path) -> None:
    config = {"arch": "densenet-7-2", "dataset": "digits", "name": "demo", "epochs": 1, "batch_size": 256}
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "config.json").write_text(json.dumps(config))
    folders = tmp_path, tmp_path / "others"
    for child in start_two(tmp_path, *((*TRAIN, "--epochs", "2", "--runs", folder) for folder in folders)):
        said = child.wait(120)
        assert child.process.exitcode == 2
        assert "started with epochs 1, not 2" in said.replace("\n", " ")


def test_batch_norm_over_all_processes_is_refused_on_cpus() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RunError, match="sync_batch_norm True needs GPUs"):
        distributed.synchronize_batch_norm(create_model("densenet-7-2"))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (1, 1)),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}, (2, 8)),
        ({"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train"}, (2, 4)),
        ({"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "bash"}, (1, 1)),
    ],
)
def test_what_the_launcher_started(
    environment: dict[str, str], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert distributed._started_processes() == expected
