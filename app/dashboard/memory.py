"""Choices that are kept while the session lasts, and written into the page's address.

Streamlit forgets a widget's value when a page without the widget is drawn. ``remember`` draws a widget that gets its
value back, and reads it from the address when the session begins: a link opens what its sender saw. Addresses hold
keys, not words, so that they are the same in every language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import streamlit as st

_KEPT = "kept"  # the session's choices by their widgets' keys


def recall(key: str, otherwise: Any = None) -> Any:
    """Return the session's choice under this key, even if its widget is on another page."""
    return st.session_state.get(_KEPT, {}).get(key, otherwise)


def keep(key: str, value: Any) -> None:
    """Keep a choice for the session."""
    st.session_state.setdefault(_KEPT, {})[key] = value


def choose_for(key: str, value: Any) -> None:
    """Set the choice of a widget that is drawn later in this run, or on another page."""
    keep(key, value)
    st.session_state[key] = value


def remember(
    widget: Callable[..., Any],
    *args: Any,
    key: str,
    default: Any,
    options: Iterable[Any] | None = None,
    limits: tuple[int, int] | None = None,
    in_address: bool = True,
    **kwargs: Any,
) -> Any:
    """Draw a widget whose value is kept over pages, reruns and, by the address, over sessions.

    Args:
        widget: such as ``st.selectbox``; called with ``args``, ``options`` or ``limits``, ``key`` and ``kwargs``.
        default: the value at first; an address without the key means this.
        options: the values that may be chosen, where they are limited.
        limits: the smallest and the largest number, where the widget takes numbers.
        in_address: write the value into the address.
    """
    allowed = None if options is None else list(options)
    between = None if limits is None else range(limits[0], limits[1] + 1)
    asked = _read_address(key, default, allowed) if in_address else default
    value = st.session_state[key] if key in st.session_state else recall(key, asked)
    # Set at each run: a widget of the same key on another page is another widget, and would begin with its default.
    st.session_state[key] = value if all(value in each for each in (allowed, between) if each is not None) else default
    given = [] if allowed is None else [allowed]
    chosen = widget(*args, *given, *(limits or ()), key=key, **kwargs)
    keep(key, chosen)
    if in_address:
        write_address(key, None if chosen == default else str(chosen))
    return chosen


def remember_several(
    widget: Callable[..., Any], *args: Any, key: str, options: Iterable[Any], **kwargs: Any
) -> list[Any]:
    """Draw a widget of several choices, such as ``st.multiselect``, kept like ``remember``; none at first.

    The address has the key once for each choice.
    """
    allowed = list(options)
    asked = st.query_params.get_all(key)
    value = st.session_state[key] if key in st.session_state else recall(key, asked)
    named = {str(option): option for option in allowed}
    st.session_state[key] = [named[str(each)] for each in value if str(each) in named]
    chosen: list[Any] = widget(*args, allowed, key=key, **kwargs)
    keep(key, chosen)
    texts = [str(each) for each in chosen]
    if texts != asked:
        if texts:
            st.query_params[key] = texts
        else:
            del st.query_params[key]
    return chosen


def _read_address(key: str, default: Any, allowed: list[Any] | None) -> Any:
    """Return the value in the address, or the default if it has none that is allowed."""
    text = st.query_params.get(key)
    if text is None:
        return default
    if allowed is not None:
        return next((option for option in allowed if str(option) == text), default)
    try:
        return type(default)(text)
    except ValueError:
        return default


def write_address(key: str, value: str | None) -> None:
    """Set a part of the address, or take it out where the value is None."""
    if value is None:
        if key in st.query_params:
            del st.query_params[key]
    elif st.query_params.get(key) != value:
        st.query_params[key] = value
