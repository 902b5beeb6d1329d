"""Who is let in, and how much: the allow-list, and the limits on uploads and connections, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest

from app.dashboard.server.access import is_allowed
from app.dashboard.server.limits import ConnectionLimit, UploadLimits


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


def statuses(
    limits: UploadLimits, *requests: tuple[str, str, bytes | None], headers: Sequence[tuple[bytes, bytes]] = ()
) -> list[int]:
    """What the middleware answers to requests of (method, path, Content-Length); 200 is the application's."""

    async def receive() -> dict[str, object]:
        raise AssertionError("the content was asked for")

    async def ask(method: str, path: str, length: bytes | None) -> int:
        found: list[int] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            found.append(message.get("status", 0))

        all_headers = [*headers, *([] if length is None else [(b"content-length", length)])]
        await limits({"type": "http", "method": method, "path": path, "headers": all_headers}, receive, send)
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
    chunked = [(b"Transfer-Encoding", b"chunked")]  # with which a server takes no account of the length
    assert statuses(limits, ("PUT", f"{put}/half/a", b"1"), headers=chunked) == [411]
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


def test_so_many_websockets_are_open_at_the_same_time() -> None:
    closed: list[object] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        closed.append(message["type"])

    async def receive() -> MutableMapping[str, Any]:
        return {}

    async def talk(*_: object) -> None:
        await end.wait()

    async def connect_all() -> None:
        open_ones = [asyncio.create_task(limit({"type": "websocket"}, receive, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await limit({"type": "websocket"}, receive, send)
        assert closed == ["websocket.close"]
        end.set()
        await asyncio.gather(*open_ones)
        await limit({"type": "websocket"}, receive, send)

    limit, end = ConnectionLimit(talk, 2), asyncio.Event()
    asyncio.run(connect_all())
    assert closed == ["websocket.close"]
    assert limit.num_open == 0
