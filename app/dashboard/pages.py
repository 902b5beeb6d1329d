"""The dashboard's pages: their addresses, and what all of them do about a user's mistake."""

from __future__ import annotations

from functools import partial
from importlib import import_module

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from app.dashboard.language import t
from app.dashboard.refusals import show_error

PAGES = {  # a module of app.dashboard.views -> its address and icon; the first is the app's root, without address
    "start": ("start", "home"),
    "feature_reuse": ("reuse", "grid_on"),
    "prediction": ("prediction", "image_search"),
    "agreement": ("agreement", "scatter_plot"),
    "claims": ("claims", "fact_check"),
    "gradient_flow": ("gradients", "show_chart"),
    "pruning": ("pruning", "content_cut"),
    "efficiency": ("efficiency", "monitoring"),
    "comparison": ("comparison", "compare_arrows"),
    "training": ("training", "model_training"),
    "notes": ("notes", "menu_book"),
}
GROUPS = {  # a group of the menu -> its pages; those of no group are in the menu itself, before the groups
    "": ("start", "feature_reuse", "prediction", "notes"),
    "analysis": ("agreement", "claims", "gradient_flow", "pruning"),
    "networks": ("comparison", "efficiency", "training"),
}
_KEY = "pages"  # of the session's state


def navigation_pages() -> dict[str, list[StreamlitPage]]:
    """Return the pages for ``st.navigation`` by the titles of their groups; ``link_to`` finds them again."""
    pages = {
        module: st.Page(
            partial(show_page, module),
            title=t(f"pages.{module}"),
            url_path=address,
        )
        for module, (address, _) in PAGES.items()  # without icons the menu fits on a screen 1000 pixels wide
    }
    st.session_state[_KEY] = pages
    titles = {group: t(f"groups.{group}") if group else "" for group in GROUPS}
    return {titles[group]: [pages[module] for module in modules] for group, modules in GROUPS.items()}


def show_page(module: str) -> None:
    """Draw a page. What a network or its data can't be used for is an error in words, not a traceback."""
    from app.dashboard.widgets.downloads import download_all, forget_items

    forget_items()
    try:
        import_module(f"app.dashboard.views.{module}").show()
        download_all(module)
    except ValueError as error:  # every error of a user's is one
        show_error(error)


def link_to(module: str, label: str) -> None:
    """A link to another page, which keeps the session; nothing where a page is drawn by itself."""
    page = st.session_state.get(_KEY, {}).get(module)
    if page is not None:
        st.page_link(page, label=label, icon=f":material/{PAGES[module][1]}:")
