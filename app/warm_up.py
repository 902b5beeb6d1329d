"""What the pages behind the first one need is imported while nobody waits for it."""

from __future__ import annotations

import gc
from importlib import import_module
from threading import Timer

import streamlit as st

PAUSE = 3.0  # seconds in which the first visitor's browser draws


@st.cache_resource(show_spinner=False)
def import_soon(modules: tuple[str, ...]) -> None:
    """Once a server."""
    timer = Timer(PAUSE, _import, (modules,))
    timer.daemon = True
    timer.start()


def _import(modules: tuple[str, ...]) -> None:
    """Imports, and takes all libraries' objects out of garbage collection, which takes 0.3 s over them."""
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()
