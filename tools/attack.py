"""Attack a dashboard with floods and parallel uploads, and say what it did: `python -m tools.attack`.

Exits with 1 where a page took more than ``MAX_SECONDS`` after the flood, or the server held more uploads than it may.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from tests.app.server.live import Visitor, free_port, serve

MAX_SECONDS = 30.0
CLOSED = 0  # instead of a status: the server closed the connection before the whole content was sent


def flood(port: int, connections: int, messages: int) -> tuple[Counter[str], float]:
    """Send messages on many WebSockets without reading an answer, every other one of bytes that are no message.

    Returns:
        How many connections were open and how many were refused, and the seconds until a page was drawn that
        somebody opened in the middle of it.
    """
    address = f"ws://localhost:{port}/_stcore/stream"
    how: Any = {"origin": f"http://localhost:{port}", "close_timeout": 1, "ping_interval": None}
    rerun = BackMsg()
    rerun.rerun_script.page_name = ""
    counts: Counter[str] = Counter()
    with ExitStack() as opened:
        found: list[ClientConnection] = []
        for _ in range(connections):
            try:
                found.append(opened.enter_context(connect(address, **how)))
                counts["open"] += 1
            except WebSocketException:
                counts["refused"] += 1
        sending = threading.Thread(target=_send, args=(found, rerun.SerializeToString(), messages))
        sending.start()
        for free in found[-2:]:  # so that the visitor is let in where all places are taken
            free.close()
        start = time.monotonic()
        with Visitor(port):
            took = time.monotonic() - start
        sending.join()
    return counts, took


def _send(connections: list[ClientConnection], message: bytes, number: int) -> None:
    for place in range(number):
        for connection in connections[:-2]:
            try:
                connection.send(message if place % 2 else os.urandom(100))
            except WebSocketException:
                continue  # the server closed it


def upload_at_once(port: int, number: int, size: int, sessions: int) -> Counter[int]:
    """Upload files of ``size`` bytes at the same time, in turn for each of these sessions, and count the statuses."""
    with ExitStack() as opened:
        visitors = [opened.enter_context(Visitor(port)) for _ in range(sessions)]
        with ThreadPoolExecutor(number) as threads:
            return Counter(
                threads.map(lambda place: _status(visitors[place % sessions], str(place), size), range(number))
            )


def _status(visitor: Visitor, name: str, size: int) -> int:
    try:
        return visitor.upload(size, name)
    except OSError:
        return CLOSED


def main() -> int:
    """Attack a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=300)
    parser.add_argument("--messages", type=int, default=100, help="on each connection")
    parser.add_argument("--uploads", type=int, default=50, help="at the same time")
    parser.add_argument("--megabytes", type=int, default=512, help="of each upload")
    options = parser.parse_args()
    port, size = free_port(), options.megabytes
    limits = ["--read-only", "--max-upload", str(size), "--session-memory", str(size + 1)]
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder), port, *limits):
        counts, took = flood(port, options.connections, options.messages)
        print(f"{counts['open']} WebSockets open, {counts['refused']} refused; a page in the flood took {took:.1f} s")
        statuses = upload_at_once(port, options.uploads, size * 10**6, sessions=min(options.uploads, 10))
        print(f"{options.uploads} uploads of {size} MB at once: {dict(statuses)} (status: number; 0: closed)")
    return 1 if took > MAX_SECONDS or statuses[204] > 4 else 0


if __name__ == "__main__":
    sys.exit(main())
