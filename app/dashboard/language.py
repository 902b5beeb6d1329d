"""The dashboard's languages: a catalogue file each, and ``t``, which looks words up by their key.

A key is a table's name and the word's: ``t("notes.title")``. Numbers go in by placeholders:
``t("notes.growth.result", maps=22)``. Options of a widget are keys of a table: ``names("pruning.budgets", BUDGETS)``.

The words of the analysis, such as the titles of measures and axes, are phrases (``analysis.words``). Their English is
in the analysis, and the other catalogues have them by the phrases' keys. ``translated`` returns a phrase, ``titles``
the phrases of a widget's options, and ``translate`` a figure with its phrases in the session's language. Error
sentences and figures for papers are English in every language.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from analysis.reuse.baselines import BASELINE_TITLES, PATTERN_TITLES
from analysis.reuse.measures import MEASURE_TITLES
from analysis.words import in_language
from app.dashboard.memory import recall, remember
from densenet_core.training.durations import number_and_unit

LANGUAGES = {"en": "English", "ko": "한국어"}
FIRST = "en"
FOLDER = Path(__file__).parent / "languages"
KEY = "language"  # of the session's state, and of the address: a reload keeps it
COLUMN_TITLES = MEASURE_TITLES | BASELINE_TITLES | PATTERN_TITLES  # of a table's columns that the analysis names


def choose_language() -> None:
    """Show the switch in the sidebar; the address says the language too, where it is not English: ``?language=ko``."""
    with st.sidebar:
        remember(
            st.segmented_control,
            "Language / 언어",
            options=list(LANGUAGES),
            key=KEY,
            default=FIRST,
            format_func=LANGUAGES.__getitem__,
            required=True,
            label_visibility="collapsed",
        )
    _tell_the_browser()


def _tell_the_browser() -> None:
    """Set the document's language, by which screen readers pronounce and browsers break lines."""
    st.html(f"<script>document.documentElement.lang = '{language()}'</script>", unsafe_allow_javascript=True)


def language() -> str:
    """Return the session's language; English by default."""
    chosen = st.session_state.get(KEY)
    return str(chosen if chosen in LANGUAGES else recall(KEY, FIRST))


@cache
def catalogue(name: str) -> dict[str, str]:
    """Return all texts of a language by their keys."""
    tables = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return dict(_flat(tables))


def t(key: str, **values: Any) -> str:
    """Return the text of a key in the session's language, with values in its placeholders."""
    return catalogue(language())[key].format(**values)


def duration_words(seconds: float) -> str:
    """Return a duration with its unit in the session's language."""
    number, unit = number_and_unit(seconds)
    return t(f"units.{unit}", number=number)


def names(table: str, options: Iterable[Any]) -> Callable[[Any], str]:
    """For ``format_func``: the words of a widget's options, which are the keys of a table."""
    return {option: t(f"{table}.{option}") for option in options}.__getitem__


def titles(phrases: Mapping[Any, str]) -> Callable[[Any], str]:
    """For ``format_func``: the titles that the analysis has for a widget's options, in the session's language."""
    return {option: translated(phrase) for option, phrase in phrases.items()}.__getitem__


def translated(text: str) -> str:
    """Return a phrase of the analysis in the session's language; other text, such as names of networks, as it is."""
    words: str = in_language(text, catalogue(language()))
    return words


def translate(figure: go.Figure) -> go.Figure:
    """Return a figure with its phrases in the session's language."""
    return figure if language() == "en" else go.Figure(_translate(figure.to_plotly_json()))


def _translate(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _translate(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_translate(value) for value in part]
    return in_language(part, catalogue(language()))


def column_labels(columns: Iterable[str]) -> dict[Any, Any]:
    """For ``column_config``: the titles of these columns, where the analysis or the catalogue has them."""
    words = catalogue(language())
    found = {
        column: translated(COLUMN_TITLES[column]) if column in COLUMN_TITLES else words.get(f"columns.{column}")
        for column in columns
    }
    return {column: column_title(title) for column, title in found.items() if title}


def column_title(text: str) -> str:
    """Return a title of a table's column: with a capital letter, unless it begins with a name as code has it.

    >>> column_title("mean |w| per channel"), column_title("mult_adds")
    ('Mean |w| per channel', 'mult_adds')
    """
    return text if "_" in text.split(" ")[0] else text[:1].upper() + text[1:]


def _flat(tables: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in tables.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", value.strip("\n")))
    return pairs
