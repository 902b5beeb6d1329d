"""The server as it is started: where it listens, and what of its settings keeps others out."""

from __future__ import annotations

import asyncio
import http.client
import socket
import tomllib
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import run
from app.dashboard.language import catalogue
from app.dashboard.server.access import is_allowed
from app.dashboard.server.limits import UploadLimits
from app.dashboard.server.options import ServerOptions, server_options
from tests.app.live import Visitor, free_port, serve

APP = Path(__file__).parents[2] / "app"


def test_the_settings_that_keep_others_out() -> None:
    config = tomllib.loads((APP / ".streamlit" / "config.toml").read_text())
    server = config["server"]
    assert server["address"] == "localhost"
    assert server["enableXsrfProtection"] is True
    assert server["enableCORS"] is True
    assert server["enableStaticServing"] is False
    assert server["fileWatcherType"] == "none"
    assert 0 < server["maxUploadSize"] <= 500
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A read-only server with small limits, started in a folder that has no settings of its own."""
    port = free_port()
    options = ["--read-only", "--max-upload", "1", "--session-memory", "2"]
    with serve(tmp_path_factory.mktemp("elsewhere"), port, *options):
        yield port


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


def test_responses_are_closed_to_other_sites(port: int) -> None:
    for path in ("/_stcore/health", "/_stcore/host-config"):
        reply = answer(port, "GET", path, Origin="https://evil.example")
        assert reply.getheader("Access-Control-Allow-Origin") in (None, f"http://localhost:{port}")


@pytest.mark.parametrize("path", ["/app/static/../main.py", "/../main.py", "/%2e%2e/main.py", "/media/../etc/passwd"])
def test_no_file_of_the_server_is_served_by_path(path: str, port: int) -> None:
    body = answer(port, "GET", path).read()
    assert b"set_page_config" not in body
    assert b"root:" not in body


@pytest.mark.parametrize("address", ["0.0.0.0", "", "192.0.2.1", "::"])
@pytest.mark.parametrize("options", [[], ["--public"], ["--read-only"]])
def test_only_a_public_read_only_server_listens_for_others(
    address: str, options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr("app.cli.serve.run_server", lambda *given: started.append(given))
    assert run(["serve", "--address", address, *options]) == 2
    assert "lets strangers in: give --public and --read-only" in capsys.readouterr().err
    assert run(["serve", "--address", address, "--public", "--read-only"]) == 0
    assert len(started) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", "0"], "--jobs 0 must be 1 or more"),
        (["--max-upload", "0"], "--max-upload 0 must be 1 or more"),
        (["--max-upload", "2048"], "--max-upload 2048 is more than --session-memory 1024"),
    ],
)
def test_limits_are_numbers_that_can_hold(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", *options]) == 2
    assert message in capsys.readouterr().err


def test_options_survive_the_command_line_of_the_pages() -> None:
    given = ServerOptions((Path("a b"), Path("-c")), read_only=True, jobs=3, allow=("@example.org", "group:x"))
    assert server_options(given.arguments()) == given
    assert server_options(["run", "--server.port=80"]) == ServerOptions()


def test_a_read_only_server_offers_no_training(port: int) -> None:
    with Visitor(port, "training") as visitor:
        assert catalogue("en")["training.no_runs_served"] in visitor.said
        assert catalogue("en")["training.new"] not in visitor.said


def test_a_session_holds_no_more_than_its_memory(port: int) -> None:
    with Visitor(port) as visitor, Visitor(port) as other:
        assert visitor.upload(1_500_000, body=False) == 413  # --max-upload
        assert [visitor.upload(800_000, name) for name in "ab"] == [204, 204]
        assert visitor.upload(800_000, "c", body=False) == 413  # --session-memory
        assert visitor.upload(100_000, "d") == 204
        assert other.upload(800_000) == 204  # has its own


def test_an_upload_needs_a_session_that_was_let_in_and_a_length(port: int) -> None:
    with Visitor(port) as visitor:
        assert visitor.upload(10, headers={"Content-Length": "-1"}, body=False) in (400, 411)
        visitor.session = "f00f00"
        assert visitor.upload(10, body=False) == 403


@pytest.mark.parametrize(
    ("user", "is_let_in"),
    [
        ({"email": "ann@example.org"}, True),
        ({"email": "ANN@EXAMPLE.ORG", "email_verified": True}, True),
        ({"email": "ann@example.org", "email_verified": False}, False),
        ({"email": "eve@example.org.evil.net"}, False),
        ({"email": '"@example.org"@evil.net'}, False),
        ({"email": "bob@elsewhere.net"}, True),
        ({"email": "", "groups": ["staff"]}, True),
        ({"groups": "staff"}, False),
        ({}, False),
    ],
)
def test_the_allow_list(user: dict[str, object], is_let_in: bool) -> None:
    assert is_allowed(user, ["@example.org", "bob@elsewhere.net", "group:Staff"]) == is_let_in
    assert is_allowed(user, [])


def statuses(limits: UploadLimits, *requests: tuple[str, str, bytes | None]) -> list[int]:
    """What the middleware answers to requests of (method, path, Content-Length); 200 is the application's."""

    async def receive() -> dict[str, object]:
        raise AssertionError("the content was asked for")

    async def ask(method: str, path: str, length: bytes | None) -> int:
        found: list[int] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            found.append(message.get("status", 0))

        headers = [] if length is None else [(b"content-length", length)]
        await limits({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
        return found[0] if found else 200

    return [asyncio.run(ask(*request)) for request in requests]


def test_limits_hold_for_one_session_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def application(*_: object) -> None: ...

    monkeypatch.setattr("app.dashboard.server.limits.is_admitted", lambda session: session != "stranger")
    held = {"full": 100, "half": 50}
    limits = UploadLimits(application, 100, lambda: held)
    put = "/_stcore/upload_file"
    assert statuses(
        limits,
        ("PUT", f"{put}/half/a", b"50"),
        ("PUT", f"{put}/half/a", b"51"),
        ("PUT", f"{put}/full/a", b"1"),
        ("PUT", f"{put}/half/a", None),
        ("PUT", f"{put}/half/a", b"-1"),
        ("PUT", f"{put}/stranger/a", b"1"),
        ("DELETE", f"{put}/full/a", None),
        ("GET", "/_stcore/metrics", None),
        ("GET", "/_stcore/health", None),
    ) == [200, 413, 413, 411, 411, 403, 200, 404, 200]
    held |= dict.fromkeys("abc", 100)
    assert statuses(limits, ("PUT", f"{put}/half/a", b"1")) == [503]
    assert not limits.arriving


def test_uploads_that_are_still_arriving_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async def application(*_: object) -> None:
        answers.extend(await asyncio.to_thread(statuses, limits, ("PUT", "/_stcore/upload_file/one/b", b"41")))

    monkeypatch.setattr("app.dashboard.server.limits.is_admitted", lambda session: True)
    answers: list[int] = []
    limits = UploadLimits(application, 100, dict)
    assert statuses(limits, ("PUT", "/_stcore/upload_file/one/a", b"60")) == [200]
    assert answers == [413]
