"""A live server, and a visitor without a browser: Streamlit's WebSocket, and requests with its token."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

CHUNK = 2**20  # bytes of an upload that are sent at once
ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


@contextmanager
def serve(
    folder: Path, port: int, *options: str, log: Path = Path(os.devnull), **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``densenet-lens serve`` in a folder until the block ends, which begins when the port answers.

    Args:
        log: the file that gets the server's output.
        environment: variables beside this process's.
    """
    command = [sys.executable, "-m", "app", "serve", "--no-browser", "--port", str(port), *options]
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=stream, stderr=stream)
    try:
        _wait_for(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("localhost", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


class Visitor:
    """A session on a server of this machine: ``with Visitor(port) as visitor`` waits until the page is drawn.

    Attributes:
        session: the session's id.
        said: everything that the page holds, as text.

    Args:
        patience_s: how long to wait for a part of a page.
    """

    def __init__(self, port: int, page: str = "", cookies: str = "", query: str = "", patience_s: float = 60) -> None:
        self.port, self.page, self.query, self.session, self.said = port, page, query, "", ""
        self.patience_s = patience_s
        self.buttons: dict[str, str] = {}  # their ids by their labels
        reply = self.request("GET", "/_stcore/health")
        token = (reply.getheader("Set-Cookie") or "").split(";")[0]
        self.cookies = "; ".join(filter(None, [token, cookies]))

    def __enter__(self) -> Visitor:
        headers = {"Cookie": self.cookies}
        origin = f"http://localhost:{self.port}"
        address = f"ws://localhost:{self.port}/_stcore/stream"
        words: Any = ["streamlit", self.token]
        self.socket = connect(
            address,
            additional_headers=headers,
            origin=origin,
            subprotocols=words,
            max_size=None,
            open_timeout=self.patience_s,
            ping_interval=None,
        )
        self.run()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def run(self, clicked: str = "") -> str:
        """Run the page, read what it sends, and return the address that it sends the browser to."""
        message, address = BackMsg(), ""
        message.rerun_script.page_name = self.page
        message.rerun_script.query_string = self.query
        if clicked:
            message.rerun_script.widget_states.widgets.add(id=clicked, trigger_value=True)
        self.socket.send(message.SerializeToString())
        while True:
            found = ForwardMsg.FromString(self.socket.recv(timeout=self.patience_s))
            self.said += str(found)
            address = found.auth_redirect.url or address
            if found.delta.new_element.HasField("button"):
                self.buttons[found.delta.new_element.button.label] = found.delta.new_element.button.id
            if found.HasField("new_session"):
                self.session = found.new_session.initialize.session_id or self.session
            if found.WhichOneof("type") == "script_finished":
                return address

    @property
    def token(self) -> str:
        """What a page of the server's own sends with its requests."""
        return self.cookies.partition("_streamlit_xsrf=")[2].partition(";")[0].strip('"')

    def click(self, label: str) -> str:
        """Click a button; as ``run``."""
        return self.run(self.buttons[label])

    def upload(self, size: int, name: str = "a", headers: dict[str, str] | None = None, body: bool = True) -> int:
        """Upload a file of zeros and return the status; without ``body``, announce it and send nothing."""
        before, end = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n', b"\r\n--b--\r\n"
        own = {"Content-Type": "multipart/form-data; boundary=b", "X-Xsrftoken": self.token, "Cookie": self.cookies}
        own |= {"Content-Length": str(len(before) + size + len(end))} | (headers or {})
        path = f"/_stcore/upload_file/{self.session}/{name}"
        zeros = (bytes(min(CHUNK, size - start)) for start in range(0, size, CHUNK))
        return self.request("PUT", path, chain([before], zeros, [end]) if body else None, **own).status

    def request(
        self, method: str, path: str, body: Iterable[bytes] | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer, which may come before the whole body was sent."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=self.patience_s)
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, headers={"Origin": f"http://localhost:{self.port}"} | headers)
        return connection.getresponse()
