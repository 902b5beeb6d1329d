"""The session's network: chosen once in the sidebar, kept over pages, named by the address and by every page.

An address holds a network as ``origin:name``: ``zoo:NAME``, ``run:FOLDER``, ``path:FILE``, ``pretrained:NAME``,
``arch:NAME``, or ``upload:HASH``, whose file the receiver of a link must upload too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from analysis.reuse.connections import dense_spec
from app.dashboard import loading
from app.dashboard.keys import NetworkKey
from app.dashboard.language import names, t
from app.dashboard.memory import choose_for, keep, recall, remember, write_address
from app.dashboard.pages import link_to
from app.dashboard.refusals import show_error
from app.dashboard.widgets.downloads import name_files_after
from app.dashboard.widgets.network_origins import BY_NAME, CHOICES, ORIGINS, START, WIDGETS
from app.dashboard.widgets.reading import choose_weights
from app.text import literal, network_facts
from densenet_core import CheckpointError

MAX_RECENT = 6


class Choice(NamedTuple):
    """A network as it is chosen, and as an address holds it."""

    origin: str
    name: str

    def __str__(self) -> str:
        return f"{self.origin}:{self.name}"


def pick_network(
    title: str | None = None, side: str = "", with_names: bool = False, table_is_enough: bool = False
) -> NetworkKey | None:
    """Show the choice in the sidebar and return the network's key; None where there is none or it can't be read.

    The page then says what is wrong, or what to do first. Otherwise it names the network.

    Args:
        side: distinguishes the two choices of a page. The first one, "a", begins with the session's network.
        with_names: networks without weights may be chosen too, by their names.
        table_is_enough: networks of which only the feature reuse is known may be chosen too.
    """
    origins = (BY_NAME, *ORIGINS) if with_names else ORIGINS
    _open_address(side)
    key, error = None, None
    with st.sidebar:
        st.subheader(title or t("picker.network"))
        _show_recent(side, origins)
        origin: str = remember(
            st.selectbox,
            t("picker.origin"),
            options=origins,
            format_func=names("picker.origins", origins),
            key=f"origin{side}",
            default=origins[0],
            in_address=False,
        )
        try:
            key = choose_weights(CHOICES[origin](side), side)
        except ValueError as wrong:  # a CheckpointError, or an unknown kind of norms
            error = wrong
    found = _check(key, error, loading.load if table_is_enough else loading.spec_and_record)
    if found is not None:
        _remember(Choice(origin, str(recall(WIDGETS[origin] + side))), side)
        if not side and not table_is_enough:
            show_network(found)
    return found


def open_page(heading: str, must_be_dense: bool = True) -> NetworkKey | None:
    """Draw a page's heading and the choice of a network; None where there is none, and the page says what to do."""
    st.subheader(heading, anchor=False)
    key = pick_network()
    if key is None:
        st.write(t("common.choose_network"))
        return None
    if must_be_dense:
        try:
            dense_spec(loading.load(key))
        except CheckpointError as error:
            show_error(error)
            link_to("comparison", t("reuse.compare"))
            return None
    return key


def show_network(key: NetworkKey) -> None:
    """Say which network the page is about: its name, its data set, its error."""
    network = loading.load(key)
    name_files_after(chosen_name(), network)
    facts = network_facts(network)
    parts = [f"**{literal(chosen_name())}**", literal(facts.pop("network"))]
    st.caption("  ·  ".join([*parts, *(f"{t(f'facts.{name}')}: **{literal(facts[name])}**" for name in facts)]))


def chosen_name() -> str:
    """Return the name of the session's network: that of its file, run or zoo entry."""
    return _short_name(_parse(str(recall("network", ""))) or Choice("zoo", START))


def choose_network(choice: Choice, side: str = "") -> None:
    """Make this the session's network; for callbacks, and before the sidebar is drawn."""
    choose_for(f"origin{side}", choice.origin)
    if choice.origin == "upload":  # the uploader can't be given a file: what was uploaded is kept beside it
        keep(f"uploaded{side}", choice.name)
    else:
        choose_for(WIDGETS[choice.origin] + side, Path(choice.name) if choice.origin == "run" else choice.name)


def _open_address(side: str) -> None:
    """At the session's first page, choose the network that the address names."""
    if recall(f"network{side}") is not None or f"origin{side}" in st.session_state:
        return
    asked = _parse(st.query_params.get(f"network{side}", ""))
    if asked is None and side == "a":
        asked = _parse(str(recall("network", st.query_params.get("network", ""))))
    if asked is not None:
        choose_network(asked, side)


def _parse(text: str) -> Choice | None:
    origin, _, name = text.partition(":")
    return Choice(origin, name) if origin in WIDGETS and name else None


def _remember(choice: Choice, side: str) -> None:
    """Keep the session's choice, write it into the address and put it first among the recent ones."""
    keep(f"network{side}", str(choice))
    write_address(f"network{side}", str(choice))
    recent: list[Choice] = st.session_state.setdefault("recent_networks", [])
    st.session_state["recent_networks"] = [choice, *(other for other in recent if other != choice)][:MAX_RECENT]


def _show_recent(side: str, origins: tuple[str, ...]) -> None:
    """Show the networks of this session, to go back to with one choice."""
    recent = [choice for choice in st.session_state.get("recent_networks", ()) if choice.origin in origins]
    if len(recent) < 2:
        return
    st.selectbox(
        t("picker.recent"),
        recent,
        index=None,
        format_func=_short_name,
        placeholder=t("picker.recent_placeholder"),
        key=f"recent{side}",
        on_change=partial(_go_back, side),
        label_visibility="collapsed",
    )


def _go_back(side: str) -> None:
    choice: Choice | None = st.session_state[f"recent{side}"]
    if choice is not None:
        choose_network(choice, side)
    st.session_state[f"recent{side}"] = None


def _short_name(choice: Choice) -> str:
    if choice.origin == "upload":
        return str(st.session_state.get("upload_names", {}).get(choice.name, choice.name))
    return Path(choice.name).name if choice.origin in ("run", "path") else choice.name


def _check(key: NetworkKey | None, error: ValueError | None, read: Callable[[NetworkKey], object]) -> NetworkKey | None:
    """Return the key if its network can be read; otherwise show the reason on the page."""
    if key is not None:
        try:
            read(key)
        except ValueError as wrong:  # a CheckpointError, or an unknown name
            error = wrong
    if error is None:
        return key
    show_error(error)
    return None
