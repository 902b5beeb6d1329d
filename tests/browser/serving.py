"""A dashboard in a process of its own, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.app.server.live import free_port

ROOT = Path(__file__).parents[2]


class Server(NamedTuple):
    """Where it answers, and its process."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def serving(folder: Path, log: Path, *options: str, **environment: str) -> Iterator[Server]:
    """Starts the dashboard in a folder and waits until it answers; the process is ended behind it.

    Args:
        log: the file that gets what it says.
        options: of Streamlit.
        environment: variables beside this process's.
    """
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py"), "--server.headless=true"]
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*command, f"--server.port={port}", *options], cwd=folder, env=variables, stdout=stream, stderr=stream
        )
    server = Server(f"http://localhost:{port}", process)
    try:
        _wait_for(server, log)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(server: Server, log: Path) -> None:
    for _ in range(600):
        assert server.process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the server does not answer: {log.read_text()}")
