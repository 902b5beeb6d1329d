from __future__ import annotations

import os
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.processes import start
from tools import torture


def run_torture(kills: str, said: Path) -> int:
    """Run the tool's command, and write what it prints to a file."""
    with said.open("w") as file, redirect_stdout(file):
        return torture.main(["--kills", kills])


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_kills_change_no_number(tmp_path: Path) -> None:
    """One at a random moment, one inside a write. `make torture KILLS=30` runs more."""
    kills, said = os.environ.get("KILLS", "2"), tmp_path / "said"
    child = start(run_torture, kills, said, log=tmp_path / "log")
    errors = child.wait()
    assert child.process.exitcode == 0, said.read_text() + errors
    in_writes = int(said.read_text().rpartition("kills, ")[2].split()[0])
    assert in_writes == int(kills) // 2
