"""Errors of a user's on a page: one whole sentence, which names what was given and the way out."""

from __future__ import annotations

import re

import streamlit as st

from app.dashboard.language import t
from app.text import literal

_WORD = re.compile(r"[a-z][a-z']*(?=\s)")  # not a name: those have digits, dots or dashes, or are the whole text
ICON = ":material/error:"


def show_error(error: Exception | str, file: str = "") -> None:
    """Show an error, or its sentence. It is English in every language; others have words of their own above it.

    Args:
        file: the name of the file that the error is about, as the user knows it.
    """
    said = literal(f"{file}: {error}" if file else begin_large(str(error)))
    lead = t("common.refused")
    st.error(f"{lead}\n\n{said}" if lead else said, icon=ICON)


def begin_large(sentence: str) -> str:
    """Return a sentence with a capital letter first, unless a name comes first.

    >>> begin_large("epochs 0 is below 1"), begin_large("model.pth is empty")
    ('Epochs 0 is below 1', 'model.pth is empty')
    """
    return sentence[0].upper() + sentence[1:] if _WORD.match(sentence) else sentence
