"""``claims`` with several runs of each side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli.main import run
from densenet_core import Checkpoint, create_model, save_checkpoint


def saved(folder: Path, arch: str, seed: int, gap: float) -> str:
    """Write a run whose record has this gap; return its file."""
    model = create_model(arch, in_channels=1)
    record = {"name": f"{arch}-{seed}", "dataset": "Digits", "seed": seed, "test_loss": gap, "train_eval_loss": 0.0}
    file = folder / f"{arch}-{seed}.safetensors"
    save_checkpoint(Checkpoint(model.spec, model.state_dict(), record), file)
    return str(file)


@pytest.mark.slow
def test_seeds_of_both_sides_decide_the_claim_on_overfitting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = [saved(tmp_path, "densenet-7-2", seed, 0.1 + seed / 100) for seed in range(3)]
    theirs = [saved(tmp_path, "resnet-8", seed, 0.5 + seed / 100) for seed in range(2)]
    beside = [part for file in theirs for part in ("--beside", file)]
    assert run(["claims", *ours, *beside, "--json"]) == 0
    rows = {row["claim"]: row for row in json.loads(capsys.readouterr().out)}
    found = rows["overfits_less"]
    assert (found["verdict"], found["control"]) == ("holds", "gap of ResNet-8, mean of 2 seeds")
    assert found["value"] == pytest.approx(0.11 - 0.505) and found["reason"].startswith("3 against 2 seeds")
    assert run(["claims", *ours, "--beside", *theirs, "--json"]) == 0  # the second ResNet has no --beside of its own
    rows = {row["claim"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["overfits_less"]["reason"] == "more than the seed differs from densenet-7-2-0 in resnet-8-1 (arch)"
