"""The one decorator for what the dashboard keeps between reruns.

Streamlit runs a page's code again at every change, and has two caches: ``st.cache_data`` gives each caller a copy
(tables), ``st.cache_resource`` the object itself (networks, images: read only). Both are shared by all sessions of the
server, and both can be limited to one session. ``cache`` chooses among these four, so that nobody has to remember the
rules:

- What belongs to one session (an upload and all that is computed from it) is kept for that session and deleted with it.
- At most ``max_entries`` results are kept; the oldest go first.
- A slow function shows a spinner in the session's language. Streamlit's own spinner has one text for all sessions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import streamlit as st

from app.dashboard.keys import NetworkKey
from app.dashboard.language import t

P = ParamSpec("P")
R = TypeVar("R")
_IS_SPINNING: ContextVar[bool] = ContextVar("is_spinning", default=False)


def cache(
    max_entries: int, *, private_entries: int | None = None, spinner: str | None = None, copies: bool = True
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep a function's results by its arguments, without those whose names begin with an underscore.

    Args:
        max_entries: results that are kept, for all sessions together.
        private_entries: the same for the networks of one session; ``max_entries`` if None.
        spinner: the key, in the catalogue's table "spinners", of the text shown while the function runs.
        copies: give each caller a copy. False: give all the same object, which they must not change.
    """
    store = st.cache_data if copies else st.cache_resource

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        # The spinner goes under the cache: its end is sent even where none was shown, and the browser would then
        # build anew what is in its place.
        slow = _spinning(spinner)(function) if spinner else function
        shared: Any = store(max_entries=max_entries, show_spinner=False)(slow)
        private: Any = store(max_entries=private_entries or max_entries, scope="session", show_spinner=False)(slow)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            is_private = any(isinstance(arg, NetworkKey) and arg.is_private for arg in args)
            result: R = (private if is_private else shared)(*args, **kwargs)
            return result

        return call

    return decorate


def _spinning(words: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Show a spinner while a function runs. One inside another has none: its end would end the other's."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if _IS_SPINNING.get():
                return function(*args, **kwargs)
            token = _IS_SPINNING.set(True)
            try:
                with st.spinner(t(f"spinners.{words}")):
                    return function(*args, **kwargs)
            finally:
                _IS_SPINNING.reset(token)

        return call

    return decorate
