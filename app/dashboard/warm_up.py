"""Import in the background what the pages after the first one need."""

from __future__ import annotations

import gc
import sys
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
    """Import the libraries, and exclude their objects from garbage collection, which would spend 0.3 s on them.

    Whoever asks for something meanwhile goes first: of 40 messages each would else wait 5 ms for the interpreter.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 20)
    try:
        for module in modules:
            import_module(module)
        gc.collect()
        gc.freeze()
    finally:
        sys.setswitchinterval(usual)
