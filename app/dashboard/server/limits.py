"""Limits on requests, checked before their content arrives: Streamlit keeps what is uploaded in memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from app.dashboard.server.access import is_admitted

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_CONNECTIONS = 200  # WebSockets that are open at the same time: one for each page in a browser
MAX_FULL_SESSIONS = 4  # all sessions together hold as much as so many full ones
METRICS = "/_stcore/metrics"  # Streamlit's statistics of memory and sessions, which are no visitor's business
_UPLOAD = re.compile(r".*/_stcore/upload_file/(?P<session>[^/]+)/[^/]+/?")


class ConnectionLimit:
    """ASGI middleware that refuses a WebSocket while ``limit`` of them are open."""

    def __init__(self, app: ASGIApp, limit: int = MAX_CONNECTIONS) -> None:
        self.app, self.limit = app, limit
        self.num_open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; a WebSocket beyond the limit is answered with 403 instead of a connection."""
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        if self.num_open >= self.limit:
            await send({"type": "websocket.close", "code": 1013, "reason": "too many connections"})
            return
        self.num_open += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.num_open -= 1


class UploadLimits:
    """ASGI middleware that refuses an upload before its content arrives.

    An upload needs a session whose visitor was let in and a Content-Length. What a session holds, and what is arriving
    for it, stays within ``session_bytes``; all sessions together stay within four times as much.

    Args:
        held: returns the bytes of uploads that each session holds, by the session's id.
    """

    def __init__(self, app: ASGIApp, session_bytes: int, held: Callable[[], dict[str, int]] | None = None) -> None:
        self.app = app
        self.session_bytes = session_bytes
        self.held = held or uploads_held
        self.arriving: Counter[str] = Counter()  # bytes by session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with the status of the limit that it breaks."""
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith(METRICS):
            await _answer(send, HTTPStatus.NOT_FOUND)
            return
        upload = _UPLOAD.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "PUT" else None
        if upload is None:
            await self.app(scope, receive, send)
            return
        session, size = upload["session"], _content_length(scope)
        if (status := self._refusal(session, size)) is not None:
            await _answer(send, status)
            return
        self.arriving[session] += size or 0
        try:
            await self.app(scope, receive, send)
        finally:
            self.arriving[session] -= size or 0
            self.arriving += Counter()  # drops zeros

    def _refusal(self, session: str, size: int | None) -> HTTPStatus | None:
        if not is_admitted(session):
            return HTTPStatus.FORBIDDEN
        if size is None:
            return HTTPStatus.LENGTH_REQUIRED
        taken = Counter(self.held()) + self.arriving
        if taken[session] + size > self.session_bytes:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if taken.total() + size > MAX_FULL_SESSIONS * self.session_bytes:
            return HTTPStatus.SERVICE_UNAVAILABLE
        return None


def uploads_held() -> dict[str, int]:
    """Return the bytes of uploads that each session of this server holds."""
    from streamlit import runtime

    if not runtime.exists():
        return {}
    storage: Any = runtime.get_instance().uploaded_file_mgr
    sessions = list(storage.file_storage.items())
    return {session: sum(len(file.data) for file in list(files.values())) for session, files in sessions}


def _content_length(scope: Scope) -> int | None:
    """Return the size of the content; None where it is not given, or chunks of any size replace it."""
    if any(name.lower() == b"transfer-encoding" for name, _ in scope["headers"]):
        return None
    values = [value for name, value in scope["headers"] if name.lower() == b"content-length"]
    return int(values[0]) if len(values) == 1 and values[0].isdigit() else None


async def _answer(send: Send, status: HTTPStatus) -> None:
    body = status.phrase.encode()
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})
