"""What scripts and unusual surroundings get from the command line."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.reuse import measuring
from analysis.reuse.ablation import connection_ablation
from app.cli import main
from app.cli.main import EscapedFormatter, prepare_streams, run
from app.cli.output import print_json, print_line, print_pairs, print_table, print_text, progress, quiet
from app.cli.training import check_progress
from densenet_core import checkpoint_from_state_dict, create_model
from densenet_core.data.datasets import load_test_images

ZOO = "densenet-40-12-digits"
AGREEMENT = ["agreement", ZOO, "--first", "mean_abs_weight", "--second", "total_abs_weight"]


def test_cost_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cost", "densenet-bc-40-12", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"]["params"] == sum(row["params"] for row in found["rows"]) == 176_122
    assert found["activation_bytes"]["memory_efficient"] < found["activation_bytes"]["training"]


@pytest.mark.slow
def test_agreement_and_claims_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scatter.png"
    assert run([*AGREEMENT, "--json", "--figure", str(out)]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)  # nothing else on standard output
    assert str(out) in captured.err
    assert found["agreement"][0]["spearman"] <= 1 and found["disagreements"]
    rows = pd.DataFrame({"statement": ["a"], "value": [np.nan]})
    monkeypatch.setattr("analysis.claims.claims.check_claims", lambda *_: rows)
    assert run(["claims", ZOO, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"statement": "a", "value": None}]


def test_quiet_leaves_results_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with quiet(True):
        assert check_progress("bar") == "none"  # of a training
        with progress("x") as move:
            move(1, 2)
    assert capsys.readouterr().err == ""
    assert run(["cost", "densenet-bc-40-12", "--csv", str(tmp_path / "c.csv"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert run(["cost", "resnet-21", "--quiet"]) == 2
    assert "nearest are 20 and 26" in capsys.readouterr().err  # errors are never left out
    assert run(["cost", "densenet-bc-40-12", "--csv", str(tmp_path / "c.csv")]) == 0
    assert capsys.readouterr().err == f"wrote {tmp_path / 'c.csv'}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["prune", "nothing.pt", "--out", "a.safetensors", "--onnx", "x.bin"], "--onnx file 'x.bin' does not end in"),
        (["prune", "nothing.pt", "--out", "a.pt"], "--out file 'a.pt' does not end in .safetensors"),
        (["agreement", "nothing.pt", "--figure", "f.jpg"], "figure file 'f.jpg' does not end in .pdf, .svg, .png"),
        (["claims", "nothing.pt", "--table", "t.xls"], "table file 't.xls' does not end in .csv"),
        (["sweep", "nothing.toml", "--results", "t.txt"], "results file 't.txt' does not end in .csv"),
        (["short-paths", "nothing.pt", "--out", "f.jpg"], "figure file 'f.jpg' does not end in .pdf, .svg, .png"),
    ],
)
def test_a_wrong_ending_is_refused_before_anything_else(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(options) == 2
    assert message in capsys.readouterr().err


def test_json_for_a_terminal_without_unicode_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding in ("ascii", "cp1252", "utf-8"):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, errors="ascii_symbols"))
        print_json({"name": "é γ 한 \udcff"})
        sys.stdout.flush()
        assert json.loads(written.getvalue().decode(encoding)) == {"name": "é γ 한 \udcff"}


def test_nothing_that_a_file_holds_acts_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\x1b[2J\x9b1mb\u202ec\x7f"
    print_line(f"{hostile}\nd")
    print_text(f"{hostile}\nd")
    print_pairs([(hostile, hostile)])
    print_table((hostile,), [(hostile,)])
    print_json({hostile: hostile})
    print(EscapedFormatter().format(logging.LogRecord("", 30, "", 1, "%s: damaged", (hostile,), None)))
    said = capsys.readouterr().out
    assert all(sign.isprintable() or sign == "\n" for sign in said)
    assert said.splitlines()[:3] == [r"a\x1b[2J\x9b1mb\u202ec\x7f\nd", r"a\x1b[2J\x9b1mb\u202ec\x7f", "d"]


def test_commands_print_by_one_module_alone() -> None:
    for file in Path(main.__file__).parent.glob("*.py"):
        own = [line for line in file.read_text().splitlines() if re.search(r"(?<![\w.])print\(", line)]
        assert file.name == "output.py" or all("file=sys.stderr" in line for line in own), (file, own)


def test_a_bar_is_for_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("x") as move:
        move(1, 2)
    assert capsys.readouterr() == ("", "")


def test_closed_streams_are_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    prepare_streams()
    with sys.stdout, sys.stderr:
        assert (run(["runs"]), run(["cost", "nosuch"])) == (0, 2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_onto_a_full_disk_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(["runs", "--json"]) == 2
        full.flush()  # as the interpreter does at its end
    assert capsys.readouterr().err == "densenet-lens: the output: No space left on device\n"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"densenet-lens {metadata.version('densenet-lens')}\n"


@pytest.mark.parametrize("words", [["inspect", "x" * 12_000], ["x" * 12_000], ["runs", "--runs", "x" * 12_000]])
def test_a_name_of_12000_characters_is_one_short_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = run(words)
    captured = capsys.readouterr()
    assert code in (0, 2)
    assert len(captured.err) < 1000 and captured.err.count("\n") <= 1


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    measuring._temporary_folder.cache_clear()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return caplog


def test_a_user_without_a_home_keeps_measurements_in_a_temporary_folder(
    no_cache: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    folder = measuring.cache_folder()
    assert folder == measuring.cache_folder() and folder.is_dir()
    assert no_cache.text.count("the cache folder can't be written") == 1


def test_a_server_of_a_user_without_a_home_gets_a_temporary_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def home() -> Path:
        if "HOME" not in os.environ:
            raise RuntimeError("Could not determine home directory.")
        return Path(os.environ["HOME"])

    homes: list[Path] = []
    monkeypatch.setattr(Path, "home", home)
    monkeypatch.setattr("app.cli.serve.run_server", lambda *_: homes.append(Path.home()))
    monkeypatch.setenv("HOME", "x")  # is set again at the end
    assert run(["serve"]) == 0
    monkeypatch.delenv("HOME")
    assert run(["serve"]) == 0
    assert homes[0] == Path("x") and homes[1].is_dir()
    assert (
        capsys.readouterr().err == f"this user has no home folder: {homes[1]} takes its place until the server ends\n"
    )
    homes[1].rmdir()


def test_a_home_that_can_not_be_written(
    no_cache: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))  # for root too, who may write everywhere else
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "file"))
    assert os.access(measuring.cache_folder(), os.W_OK)
    assert "the cache folder can't be written" in no_cache.text


@pytest.fixture
def ablate() -> Callable[..., pd.DataFrame]:
    network = checkpoint_from_state_dict(create_model("densenet-7-2", in_channels=1).state_dict())
    return partial(connection_ablation, network, load_test_images("digits"), 8, batch_size=2)


@pytest.mark.slow
def test_two_measurements_with_one_cache_do_not_disturb_each_other(
    ablate: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    whole = ablate()

    def other(done: int, total: int) -> None:
        if done == 4:
            pd.testing.assert_frame_equal(ablate(keep_in=tmp_path), whole)

    pd.testing.assert_frame_equal(ablate(on_batch=other, keep_in=tmp_path), whole)


@pytest.mark.slow
def test_damaged_measurements_are_removed(
    ablate: Callable[..., pd.DataFrame], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = ablate(keep_in=tmp_path)
    (state,) = tmp_path.iterdir()
    good = state.read_bytes()
    np.savez(tmp_path / "wrong.npz", done=8, sums=np.full((2, 3, 3), np.nan))
    huge = b"PK\x03\x04" + good[4:]
    for damaged in (
        good[: len(good) // 2],
        b"",
        huge[:100] + bytes(100) + huge[200:],
        (tmp_path / "wrong.npz").read_bytes(),
    ):
        caplog.clear()
        state.write_bytes(damaged)
        pd.testing.assert_frame_equal(ablate(keep_in=tmp_path), whole)
        assert "is damaged" in caplog.text and "measured again" in caplog.text
        assert state.read_bytes() == good
