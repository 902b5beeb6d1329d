"""Ctrl-C at any moment ends a command with one line or none, never with a traceback."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from analysis.reuse.cuts import processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]


def _start(*words):
    """Start a command in a process group of its own, as a terminal does."""
    heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # also where the tests ignore it
    command = [sys.executable, "-m", "app", *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heard)


@pytest.mark.parametrize("tenths", [2, 4, 6])
def test_during_the_imports(tenths):
    process = _start("agreement", "densenet-bc-76-12-digits", "--workers", "2")
    time.sleep(tenths / 10)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert "Traceback" not in said or "site.py" in said  # Python itself starts before any of our code
    assert process.returncode in (130, -signal.SIGINT)


def test_an_import_that_ctrl_c_made_fail_is_an_interruption():
    code = (
        "import app.cli.main as main\n"
        "def fail(*_, **__):\n"
        "    raise ImportError('initialization failed') from KeyboardInterrupt()\n"
        "main.app = fail\n"
        "main.run(['zoo'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 130 and done.stderr.startswith("densenet-lens: Interrupted.")


def test_a_server_is_ended_without_a_word(tmp_path):
    process = _start("serve", "--no-browser", "--port", "0", "--root", str(tmp_path))
    time.sleep(15)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Interrupted" not in said and "Traceback" not in said


def _report(connection, *_):
    connection.send(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)


def test_workers_ignore_ctrl_c_from_their_start_and_the_caller_does_not(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(processes, "_serve", _report)
    process, connection = processes._start((b"", 1))
    assert connection.recv() is True
    process.join()
    assert signal.getsignal(signal.SIGINT) is before
