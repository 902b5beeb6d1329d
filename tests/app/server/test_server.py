"""The server as it is started: where it listens, and what of its settings keeps others out."""

from __future__ import annotations

import http.client
import socket
import sys
import tomllib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.cli.main import run
from app.dashboard.language import catalogue
from app.dashboard.server.options import ServerOptions, server_options
from tests.app.server.live import Visitor, free_port, serve
from tools.attack import CLOSED, flood, upload_at_once

pytestmark = pytest.mark.slow
APP = Path(__file__).parents[3] / "app"


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


def upgrade(port: int, origin: str, **headers: str) -> int:
    key = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": origin, **key, **headers}
    return answer(port, "GET", "/_stcore/stream", **asked).status


def test_other_sites_pages_open_no_connection(port: int) -> None:
    assert upgrade(port, f"http://localhost:{port}") == 101
    assert upgrade(port, "https://evil.example") == 403


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "169.254.169.254", "", "a@localhost"])
def test_a_foreign_name_that_leads_here_opens_no_connection(host: str, port: int) -> None:
    for origin in (f"http://{host}", f"http://{host}:{port}", f"http://localhost:{port}"):
        assert upgrade(port, origin, Host=host) == 403
        assert upgrade(port, origin, Host=f"{host}:{port}") == 403
    assert upgrade(port, f"http://127.0.0.1:{port}", Host=f"127.0.0.1:{port}") == 101


@pytest.mark.parametrize(
    "path",
    [
        "metrics",
        "metrics/",
        "/metrics",
        "./metrics",
        "METRICS",
        "%6detrics",
        "metrics?a=b",
        "metrics%00",
        "x/../metrics",
    ],
)
def test_statistics_are_not_served(path: str, port: int) -> None:
    reply = answer(port, "GET", f"/_stcore/{path}")
    body = reply.read()
    assert reply.status in (400, 404) or b"<html" in body  # the page, as for every unknown path
    assert b"cache_memory" not in body and b"# TYPE" not in body


@pytest.mark.parametrize(
    "path",
    [
        "/%00",
        "/media/%00",
        "/media/..%2f..%2fetc%2fpasswd",
        "/%c0%ae%c0%ae/etc/passwd",
        "/%ef%bc%8e%ef%bc%8e/etc/passwd",
    ],
)
def test_odd_forms_of_paths_are_served_no_file(path: str, port: int) -> None:
    reply = answer(port, "GET", path)
    assert reply.status in (400, 404) or b"<html" in reply.read()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "runs/..%2F..%2Fetc%2Fpasswd",
        "runs%00/x",
        "runs/%EF%BC%8E%EF%BC%8E/x",
        "%E2%80%AE/etc",
        "runs/%FF",
    ],
)
def test_odd_forms_of_paths_in_an_address_lead_nowhere(path: str, port: int) -> None:
    with Visitor(port, "reuse", query=f"network=path:{path}") as visitor:
        assert "outside the folders" in visitor.said or "There is no" in visitor.said
        assert "root:" not in visitor.said


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
        (["--allow", "ann"], "--allow 'ann' is neither an address, nor @domain, nor group:NAME"),
        (["--allow", ""], "--allow '' is neither an address, nor @domain, nor group:NAME"),
    ],
)
def test_limits_are_numbers_that_can_hold(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", *options]) == 2
    assert message in capsys.readouterr().err


def exits(*_: object) -> None:
    sys.exit(1)  # as Streamlit does where the port is in use


def can_not_listen(*_: object) -> None:
    raise OSError(99, "Cannot assign requested address")


@pytest.mark.parametrize(
    ("end", "message"),
    [(exits, "--port 8501: choose another one, or 0"), (can_not_listen, "--port 8501: Cannot assign requested")],
)
def test_a_port_that_can_not_be_used_is_a_mistake_of_the_user(
    end: Callable[..., None], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.cli.serve.run_server", end)
    assert run(["serve"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [(["--jobs", "x"], "--jobs"), (["--jobs=0"], "--jobs 0 must be")])
def test_wrong_options_after_streamlit_run_are_shown_on_the_page(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["main.py", *arguments])
    page = AppTest.from_string("from app.dashboard.server.access import check_access; check_access()").run(timeout=30)
    assert [message in error.value.replace("\\", "") for error in page.error] == [True]
    assert not page.exception


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
        assert visitor.upload(10, headers={"Transfer-Encoding": "chunked"}, body=False) == 411
        visitor.session = "f00f00"
        assert visitor.upload(10, body=False) == 403


def test_ids_of_other_sessions_and_files_are_not_guessed(port: int) -> None:
    with Visitor(port) as visitor, Visitor(port) as other:
        assert {uuid.UUID(each.session).version for each in (visitor, other)} == {4}  # 122 random bits
        assert visitor.session != other.session
        assert [visitor.upload(900_000, name) for name in "ab"] == [204, 204]
        own, other.session = other.session, str(uuid.uuid4())
        assert other.upload(10, body=False) == 403
        guess = f"/_stcore/upload_file/{other.session}/a"
        other.request("DELETE", guess, **{"X-Xsrftoken": other.token, "Cookie": other.cookies})
        assert visitor.upload(900_000, "c", body=False) == 413  # its files are still there
        assert other.request("GET", f"/media/{'0' * 56}.csv").status == 404
        other.session = own
        assert other.upload(10) == 204


def test_an_upload_of_another_session_is_not_found_by_its_hash(port: int) -> None:
    with Visitor(port, "reuse", query="network=upload:0123456789ab") as visitor:
        assert "0123456789ab" in visitor.said
        assert "plotly" not in visitor.said


def test_a_page_is_drawn_in_a_flood_of_messages(port: int) -> None:
    counts, took = flood(port, connections=12, messages=20)
    assert counts == {"open": 12}
    assert took < 30


def test_uploads_at_the_same_time_stay_in_the_memory_of_all_sessions(port: int) -> None:
    statuses = upload_at_once(port, 15, 1_000_000, sessions=5)
    assert 1 <= statuses[204] <= 8  # 8 MB: four times --session-memory
    assert set(statuses) <= {204, 413, 503, CLOSED}
