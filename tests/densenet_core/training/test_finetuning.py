from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.main import run
from densenet_core import Checkpoint, create_model, save_checkpoint
from densenet_core.data.datasets import load_splits
from densenet_core.training.evaluation import evaluate_checkpoint
from densenet_core.training.finetuning import finetune
from densenet_core.training.loop import NotFiniteError

pytestmark = pytest.mark.slow


@pytest.fixture
def network() -> Checkpoint:
    model = create_model("densenet-7-2", in_channels=1)
    return Checkpoint(model.spec, model.state_dict(), {"dataset": "Digits (8x8)"})


def test_a_loss_that_is_not_finite_leaves_the_disk_as_it_was(
    network: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run called as the fine-tuning is inside must not get a file of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "finetuned").mkdir(parents=True)
    with pytest.raises(NotFiniteError, match=r"the loss is \S+ at epoch 1, step \d+: use a learning_rate below 1e\+30"):
        finetune(network, load_splits("digits"), epochs=1, learning_rate=1e30)
    assert list((tmp_path / "runs").rglob("*")) == [tmp_path / "runs" / "finetuned"]


def test_the_record_has_the_results_of_the_new_weights_only(network: Checkpoint) -> None:
    of_the_old = {
        "test_error": 99.0,
        "test_loss": 9.0,
        "train_eval_loss": 9.0,
        "train_loss": 9.0,
        "validation_error": 99.0,
    }
    splits = load_splits("digits")
    tuned = finetune(replace(network, record=network.record | of_the_old), splits, epochs=1)
    result = evaluate_checkpoint(tuned, splits.test)
    assert tuned.record["test_error"] == pytest.approx(result.top1_error)
    assert tuned.record["test_loss"] == pytest.approx(result.loss, rel=1e-4)
    assert not {"train_eval_loss", "train_loss", "validation_error"} & tuned.record.keys()


def test_the_command_says_so_in_one_line(
    network: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(network, tmp_path / "net.safetensors")
    options = ["--dataset=digits", "--measure=mean_abs_weight", "--keep=0.8", "--finetune=1", "--learning-rate=1e30"]
    assert run(["prune", "net.safetensors", "--out", "small.safetensors", *options]) == 2
    said = capsys.readouterr().err
    assert "densenet-lens: the loss is" in said
    assert "use a learning_rate below 1e+30" in said
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]
