"""A dashboard in a process of its own, for benchmarks, browser tests and pictures; and what its process uses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "app" / "main.py"


class Server(NamedTuple):
    """The address of a dashboard, and its process."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def serving(folder: Path, log: Path, *options: str, main: Path = MAIN, **environment: str) -> Iterator[Server]:
    """Start the dashboard in a folder as the README says, and yield it when it answers; end it afterwards.

    Args:
        log: the file that gets its output.
        options: options of Streamlit.
        main: another app than the dashboard.
        environment: variables in addition to this process's.

    Raises:
        RuntimeError: it ends or does not answer within a minute.
    """
    port = _free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(main), "--server.headless=true"]
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


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def _wait_for(server: Server, log: Path) -> None:
    for _ in range(600):
        if server.process.poll() is not None:
            raise RuntimeError(f"the dashboard ended: {log.read_text()}")
        try:
            with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the dashboard does not answer: {log.read_text()}")


def memory(process: int) -> int:
    """Return the memory of a process, in bytes (Linux)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process has used so far, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_seconds() -> float:
    """Return the processor time that all cores have worked since the machine's start, in seconds."""
    user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")
