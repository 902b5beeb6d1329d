"""The dashboard's languages: a catalogue file each, and ``t``, which looks words up by their key.

``languages/en.toml`` and ``ko.toml`` have the same keys and placeholders. A key is a table's name and the word's:
``t("notes.title")``. Numbers go in by placeholders: ``t("notes.growth.result", maps=22)``. The table "analysis"
holds what comes from the analysis, which knows no languages: words of Plotly figures, titles, statements, each under
its English words. What is not there stays English, as error sentences and figures for papers do.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from analysis.reuse.measures import MEASURE_TITLES

LANGUAGES = {"en": "English", "ko": "한국어"}
FOLDER = Path(__file__).parent / "languages"
KEY = "language"  # of the session's state, and of the address: a reload keeps it
_NUMBER = r"\d+(?:[.,]\d+)*"
_WORDS_OF_FIGURES = ("text", "name", "hovertemplate", "ticktext", "prefix")


def choose_language() -> None:
    """Shows the switch in the sidebar; the address says the language too, where it is not English: ``?language=ko``."""
    if KEY not in st.session_state:
        asked = st.query_params.get(KEY)
        st.session_state[KEY] = asked if asked in LANGUAGES else "en"
    with st.sidebar:
        st.segmented_control(
            "Language / 언어",
            list(LANGUAGES),
            format_func=LANGUAGES.__getitem__,
            required=True,
            key=KEY,
            label_visibility="collapsed",
        )
    if language() == "en":
        st.query_params.pop(KEY, None)
    elif st.query_params.get(KEY) != language():
        st.query_params[KEY] = language()


def language() -> str:
    """The session's language; English where it was not asked."""
    return str(st.session_state.get(KEY, "en"))


@cache
def catalogue(name: str) -> dict[str, str]:
    """All words of a language by their keys."""
    tables = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return dict(_flat(tables))


def t(key: str, **values: Any) -> str:
    """The words of a key in the session's language, with values in their placeholders."""
    return catalogue(language())[key].format(**values)


def names(table: str, options: Iterable[Any]) -> Callable[[Any], str]:
    """For ``format_func``: the words of a widget's options, which are the keys of a table."""
    return {option: t(f"{table}.{option}") for option in options}.__getitem__


def translated(figure: go.Figure) -> go.Figure:
    """A figure with the words of its axes, titles, legends and hovers in the session's language, where it has them."""
    if language() == "en":
        return figure
    return go.Figure(_translated(figure.to_plotly_json()))


def from_analysis(text: str) -> str:
    """The analysis's English words in the session's language, where it has them.

    A phrase stands in the catalogue as it is, with "{}" for its numbers, or with "{}" for any words, which are
    translated in their turn: "{} / {}" makes "total |w| / block's maximum" of two phrases.
    """
    words = catalogue(language())
    if language() == "en" or not text.strip():
        return text
    if (key := f"analysis.{text}") in words:
        return words[key]
    if (inner := text.strip()) != text:
        return text.replace(inner, from_analysis(inner))
    if (key := f"analysis.{re.sub(_NUMBER, '{}', text)}") in words:
        return _filled(words[key], re.findall(_NUMBER, text))
    for pattern, key in _patterns(language()):
        if match := pattern.fullmatch(text):
            return _filled(words[key], [from_analysis(part) for part in match.groups()])
    return text


def _filled(phrase: str, parts: Iterable[str]) -> str:
    """The phrase with parts in place of its "{}"; Plotly's "%{x}" stays."""
    rest = iter(parts)
    return re.sub(r"\{\}", lambda _: next(rest), phrase)


@cache
def _patterns(name: str) -> list[tuple[re.Pattern[str], str]]:
    """The phrases with "{}" as patterns, those that say most first, and their keys."""
    keys = [key for key in catalogue(name) if key.startswith("analysis.") and "{}" in key]
    keys.sort(key=lambda key: len(key.replace("{}", "")), reverse=True)
    return [
        (re.compile("(.+?)".join(map(re.escape, key.removeprefix("analysis.").split("{}"))), re.DOTALL), key)
        for key in keys
    ]


def column_labels(columns: Iterable[str]) -> dict[Any, Any]:
    """For ``column_config``: the titles of measures, and the words of the table "columns" for others that it has."""
    words = catalogue(language())
    labels = {column.removeprefix("columns."): words[column] for column in words if column.startswith("columns.")}
    labels |= {measure: from_analysis(title) for measure, title in MEASURE_TITLES.items()}
    return {column: labels[column] for column in columns if column in labels}


def titles(of: Mapping[Any, str]) -> Callable[[Any], str]:
    """For ``format_func``: the analysis's titles of a widget's options."""
    return {option: from_analysis(title) for option, title in of.items()}.__getitem__


def _translated(part: Any, key: str = "") -> Any:
    if isinstance(part, dict):
        return {name: _translated(value, str(name)) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_translated(value, key) for value in part]
    return from_analysis(part) if isinstance(part, str) and key in _WORDS_OF_FIGURES else part


def _flat(tables: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in tables.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", value.strip()))
    return pairs
