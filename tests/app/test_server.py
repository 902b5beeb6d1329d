"""The server as it is started: where it listens, and what of its settings keeps others out."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"


def test_the_settings_that_keep_others_out() -> None:
    config = tomllib.loads((APP / ".streamlit" / "config.toml").read_text())
    server = config["server"]
    assert server["address"] == "localhost"
    assert server["enableXsrfProtection"] is True
    assert server["enableCORS"] is True
    assert server["enableStaticServing"] is False
    assert server["fileWatcherType"] == "none"
    assert 0 < server["maxUploadSize"] <= 512
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server started in a folder that has no settings of its own."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = int(free.getsockname()[1])
    folder = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-m", "streamlit", "run", str(APP / "main.py"), "--server.headless=true"]
    server = subprocess.Popen([*command, f"--server.port={port}"], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("localhost", port), 1).close()
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def own_addresses() -> list[str]:
    """This machine's addresses other than localhost's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            return [str(probe.getsockname()[0])]
        except OSError:
            return []


def test_it_listens_on_localhost_alone_wherever_it_is_started(port: int) -> None:
    for address in own_addresses():
        with pytest.raises(OSError):
            socket.create_connection((address, port), 2).close()
    with socket.create_connection(("localhost", port), 2):
        pass


def answer(port: int, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("localhost", port, timeout=10)
    connection.request(method, path, headers=headers)
    return connection.getresponse()


def upgrade(port: int, origin: str) -> int:
    key = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": origin, **key}
    return answer(port, "GET", "/_stcore/stream", **asked).status


def test_other_sites_pages_open_no_connection(port: int) -> None:
    assert upgrade(port, f"http://localhost:{port}") == 101
    assert upgrade(port, "https://evil.example") == 403


def test_an_upload_without_the_sites_own_token_is_refused(port: int) -> None:
    assert answer(port, "PUT", "/_stcore/upload_file/session/file", Origin="https://evil.example").status == 403


def test_no_answer_tells_other_sites_anything(port: int) -> None:
    for path in ("/_stcore/health", "/_stcore/host-config"):
        reply = answer(port, "GET", path, Origin="https://evil.example")
        assert reply.getheader("Access-Control-Allow-Origin") in (None, f"http://localhost:{port}")


@pytest.mark.parametrize("path", ["/app/static/../main.py", "/../main.py", "/%2e%2e/main.py", "/media/../etc/passwd"])
def test_no_file_of_the_server_is_served_by_path(path: str, port: int) -> None:
    body = answer(port, "GET", path).read()
    assert b"set_page_config" not in body
    assert b"root:" not in body
