from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_kills_change_no_number() -> None:
    """One at a random moment, one inside a write. `make torture KILLS=30` runs more."""
    kills = os.environ.get("KILLS", "2")
    command = [sys.executable, str(ROOT / "tools" / "torture.py"), "--kills", kills]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=variables)
    assert run.returncode == 0, run.stdout + run.stderr
    in_writes = int(run.stdout.rpartition("kills, ")[2].split()[0])
    assert in_writes == int(kills) // 2
