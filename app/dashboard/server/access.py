"""Access to the pages: the server's address, and Streamlit's login where it is configured (the extra ``auth``)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from app.dashboard.language import t
from app.dashboard.server.options import ServerOptions, server_options
from app.text import literal

_ADMITTED: set[str] = set()  # ids of sessions whose visitor was let in


def check_access() -> None:
    """Draw the login, or the reason for a refusal, and stop the page unless its visitor may see it."""
    try:
        options = server_options()
        options.check_address(st.get_option("server.address"))
    except ValueError as error:
        _refuse(str(error))
    if not needs_login(options):
        _admit()
        return
    if not _is_login_configured():
        _refuse("--allow is given, and .streamlit/secrets.toml has no [auth]: see SECURITY.md")
    if not st.user.is_logged_in:
        st.title("DenseNet Lens", anchor=False)
        st.button(t("access.login"), on_click=st.login, type="primary", icon=":material/login:")
        st.stop()
    if not is_allowed(st.user.to_dict(), options.allow):
        st.button(t("access.logout"), on_click=st.logout, icon=":material/logout:")
        _refuse(t("access.not_allowed", address=str(st.user.get("email"))))
    _admit()


def show_account() -> None:
    """Show who is logged in, with the button that ends it; nothing without a login."""
    if needs_login(server_options()):
        with st.sidebar, st.container(horizontal=True, vertical_alignment="center"):
            st.caption(literal(str(st.user.get("email") or st.user.get("sub"))))
            st.button(t("access.logout"), on_click=st.logout, type="tertiary", icon=":material/logout:")


def needs_login(options: ServerOptions) -> bool:
    """Return whether visitors must log in: where secrets.toml has [auth], or an allow-list is given."""
    return bool(options.allow) or _is_login_configured()


def is_allowed(user: Mapping[str, Any], allow: Sequence[str]) -> bool:
    """Return whether a user's claims match the allow-list: addresses, @domains and group:NAMEs; all match none.

    >>> is_allowed({"email": "Ann@example.org", "email_verified": True}, ["@example.org"])
    True
    >>> is_allowed({"email": "ann@example.org.evil.net"}, ["@example.org"])
    False
    """
    email, groups = str(user.get("email", "")).lower(), user.get("groups")
    if allow and user.get("email_verified", True) is not True:
        email = ""
    known = {email, f"@{email.rpartition('@')[2]}"} if "@" in email else set()
    if isinstance(groups, list | tuple):
        known |= {f"group:{name}".lower() for name in groups}
    return not allow or not known.isdisjoint(entry.lower() for entry in allow)


def own_folder(folder: Path) -> Path:
    """Return the part of a folder that belongs to this visitor; all of it where nobody logs in."""
    if not needs_login(server_options()):
        return folder
    return folder / user_name(st.user.to_dict()) if st.user.is_logged_in else folder / "nobody"


def user_name(user: Mapping[str, Any]) -> str:
    """Return a folder's name for a user, different for each; the provider's subject identifies the user.

    >>> user_name({"iss": "https://id.example.org", "sub": "17", "email": "Ann@example.org"})
    'ann-example-org-d2ad98cb'
    """
    identity = "\0".join(str(user.get(claim, "")) for claim in ("iss", "sub"))
    readable = re.sub(r"[^a-z0-9]+", "-", str(user.get("email", "user")).lower()).strip("-")[:40]
    return f"{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def is_admitted(session_id: str) -> bool:
    """Return whether the visitor of this session was let in."""
    return session_id in _ADMITTED


def _admit() -> None:
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx(suppress_warning=True)
    if context is not None:
        _ADMITTED.add(context.session_id)


def _is_login_configured() -> bool:
    return st.secrets.load_if_toml_exists() and "auth" in st.secrets


def _refuse(reason: str) -> None:
    st.error(literal(reason), icon=":material/block:")
    st.stop()
