"""Choices that are kept while the session lasts, and written into the page's address.

Streamlit forgets a widget's value when a page without the widget is drawn. ``remember`` draws a widget that gets its
value back, and reads it from the address when the session begins: a link opens what its sender saw. Addresses hold
keys, not words, so that they are the same in every language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    limits: tuple[float, float] | None = None,
    in_address: bool = True,
    name: str | None = None,
    is_default_written: bool = False,
    **kwargs: Any,
) -> Any:
    """Draw a widget whose value is kept over pages, reruns and, by the address, over sessions.

    Args:
        widget: such as ``st.selectbox``; called with ``args``, ``options`` or ``limits``, ``key`` and ``kwargs``.
        default: the value at first; an address without the name means this.
        options: the values that may be chosen, where they are limited.
        limits: the smallest and the largest number, where the widget takes numbers.
        in_address: write the value into the address.
        name: in the address, where it is not the key: widgets that replace each other, each with its own default or
            options, have one name.
        is_default_written: write the default into the address too, where it may be another one later.
    """
    allowed = None if options is None else list(options)
    asked = _read_address(key, name or key, default, allowed) if in_address else default
    # Its own value may be None though None is no option: a page that is drawn again may send an empty choice at first.
    values = ([st.session_state[key]] if key in st.session_state else []) + [recall(key, asked)]
    # Set at each run: a widget of the same key on another page is another widget, and would begin with its default.
    st.session_state[key] = next((value for value in values if _is_allowed(value, allowed, limits)), default)
    given = [] if allowed is None else [allowed]
    chosen = widget(*args, *given, *(limits or ()), key=key, **kwargs)
    keep(key, chosen)
    if in_address:
        _mark_read(name or key)
        is_left_out = chosen == default and not is_default_written
        write_address(name or key, None if is_left_out else str(chosen))
    return chosen


def remember_several(
    widget: Callable[..., Any],
    *args: Any,
    key: str,
    options: Iterable[Any],
    default: Sequence[Any] = (),
    name: str | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Draw a widget of several choices, such as ``st.multiselect``, kept like ``remember``.

    The address has the name once for each choice, and once without a value where nothing is chosen but the default is
    something. A widget that accepts new options takes them from the address too.
    """
    allowed = list(options)
    named = {str(option): option for option in allowed}
    first = [each for each in default if each in allowed]
    is_open = bool(kwargs.get("accept_new_options"))
    asked = _read_several(key, name or key, first, named, is_open)
    value = st.session_state[key] if key in st.session_state else recall(key, asked)
    st.session_state[key] = [each for each in value if is_open or each in allowed]
    chosen: list[Any] = widget(*args, allowed, key=key, **kwargs)
    keep(key, chosen)
    _mark_read(name or key)
    _write_several(name or key, None if chosen == first else [str(each) for each in chosen] or [""])
    return chosen


def _is_allowed(value: Any, allowed: list[Any] | None, limits: tuple[float, float] | None) -> bool:
    if allowed is not None and value not in allowed:
        return False
    return limits is None or (isinstance(value, int | float) and limits[0] <= value <= limits[1])


def _read_address(key: str, name: str, default: Any, allowed: list[Any] | None) -> Any:
    """Return the value in the address, or the default if it has none that is allowed."""
    text = st.query_params.get(name)
    if text is None or _is_of_another(key, name):
        return default
    if allowed is not None:
        return next((option for option in allowed if str(option) == text), default)
    if isinstance(default, bool):
        return {"True": True, "False": False}.get(text, default)
    try:
        return type(default)(text)
    except ValueError:
        return default


def _read_several(key: str, name: str, default: list[Any], named: dict[str, Any], is_open: bool) -> list[Any]:
    """Return the choices in the address, or the default if it has none that are allowed."""
    texts = st.query_params.get_all(name)
    if not texts or _is_of_another(key, name):
        return default
    if texts == [""]:
        return []
    return [named.get(text, text) for text in texts if is_open or text in named] or default


_READ = "addresses_read"  # of the session's state: the names whose values are the session's own by now


def _mark_read(name: str) -> None:
    st.session_state.setdefault(_READ, set()).add(name)


def _is_of_another(key: str, name: str) -> bool:
    """Return whether the address's value is the choice of another widget, which this one replaces."""
    return key != name and name in st.session_state.get(_READ, ())


def _write_several(name: str, texts: list[str] | None) -> None:
    if texts is None:
        write_address(name, None)
    elif st.query_params.get_all(name) != texts:
        st.query_params[name] = texts


def write_address(key: str, value: str | None) -> None:
    """Set a part of the address, or take it out where the value is None."""
    if value is None:
        if key in st.query_params:
            del st.query_params[key]
    elif st.query_params.get(key) != value:
        st.query_params[key] = value
