"""The dashboard's languages: a catalogue file each, and ``t``, which looks words up by their key.

``languages/en.toml`` and ``ko.toml`` have the same keys and placeholders. A key is a table's name and the word's:
``t("notes.title")``. Numbers go in by placeholders: ``t("notes.growth.result", maps=22)``. The options of a widget and
the values of a column are keys of a table: ``names("measures", MEASURES)``. Error sentences and figures for papers are
English in every language.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

LANGUAGES = {"en": "English", "ko": "한국어"}
FOLDER = Path(__file__).parent / "languages"
KEY = "language"  # of the session's state, and of the address: a reload keeps it
PHRASES = (  # tables whose English words are the analysis's own, which is held to them by a test
    "measures.",
    "scalings.",
    "target_kinds.",
    "origins.",
    "operations.",
    "pruning_axes.",
    "gradient_quantities.",
    "error_kinds.",
    "analysis.",
)
_NUMBER = r"\d+(?:[.,]\d+)*"
_WORDS_OF_FIGURES = ("text", "name", "hovertemplate", "ticktext", "prefix")


def choose_language() -> None:
    """Show the switch in the sidebar; the address says the language too, where it is not English: ``?language=ko``."""
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
    _tell_the_browser()
    if language() == "en":
        st.query_params.pop(KEY, None)
    elif st.query_params.get(KEY) != language():
        st.query_params[KEY] = language()


def _tell_the_browser() -> None:
    """Set the document's language, by which screen readers pronounce and browsers break lines."""
    st.html(f"<script>document.documentElement.lang = '{language()}'</script>", unsafe_allow_javascript=True)


def language() -> str:
    """Return the session's language; English by default."""
    return str(st.session_state.get(KEY, "en"))


@cache
def catalogue(name: str) -> dict[str, str]:
    """Return all texts of a language by their keys."""
    tables = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return dict(_flat(tables))


def t(key: str, **values: Any) -> str:
    """Return the text of a key in the session's language, with values in its placeholders."""
    return catalogue(language())[key].format(**values)


def names(table: str, options: Iterable[Any]) -> Callable[[Any], str]:
    """For ``format_func``: the words of a widget's options, which are the keys of a table."""
    return {option: t(f"{table}.{option}") for option in options}.__getitem__


def translate(figure: go.Figure) -> go.Figure:
    """Return a figure with its axes, titles, legends and hovers in the session's language, where it has them."""
    if language() == "en":
        return figure
    return go.Figure(_translate(figure.to_plotly_json()))


def from_analysis(text: str) -> str:
    """Translate an English text of the analysis into the session's language.

    Plotly figures and tables of claims come with their words in them. The English catalogue has those words under
    keys of the tables in ``PHRASES``; this finds the key, whose words in the other language are then used. A phrase has
    "{}" for its numbers, or for phrases, which are translated in their turn: "{} / {}" makes "total |w| / block's
    maximum" of two. Text that is no phrase (names of networks, data) stays as it is.
    """
    if language() == "en" or not text.strip():
        return text
    words = catalogue(language())
    if key := _phrase_keys().get(text):
        return words[key]
    if (inner := text.strip()) != text:
        return text.replace(inner, from_analysis(inner))
    if key := _phrase_keys().get(re.sub(_NUMBER, "{}", text)):
        return _fill(words[key], re.findall(_NUMBER, text))
    for pattern, key in _patterns():
        if match := pattern.fullmatch(text):
            return _fill(words[key], [from_analysis(part) for part in match.groups()])
    return text


def _fill(phrase: str, parts: Iterable[str]) -> str:
    """Return the phrase with parts in place of its "{}"; Plotly's "%{x}" stays."""
    rest = iter(parts)
    return re.sub(r"\{\}", lambda _: next(rest), phrase)


@cache
def _phrase_keys() -> dict[str, str]:
    """Return the keys of the analysis's phrases by their English words."""
    return {words: key for key, words in catalogue("en").items() if key.startswith(PHRASES)}


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return the phrases with "{}" as patterns, the longest first, and their keys."""
    phrases = [(words, key) for words, key in _phrase_keys().items() if "{}" in words]
    phrases.sort(key=lambda phrase: len(phrase[0].replace("{}", "")), reverse=True)
    return [(re.compile("(.+?)".join(map(re.escape, words.split("{}"))), re.DOTALL), key) for words, key in phrases]


def column_labels(columns: Iterable[str]) -> dict[Any, Any]:
    """For ``column_config``: the titles of these columns, where the catalogue has them.

    A measure's column has the measure's title.
    """
    words = catalogue(language())
    found = {column: words.get(f"measures.{column}") or words.get(f"columns.{column}") for column in columns}
    return {column: title for column, title in found.items() if title}


def value_labels(column: str, values: Iterable[str]) -> dict[str, str]:
    """Return the texts of a column's values, such as those of ``target_kind``, if the catalogue has them."""
    words = catalogue(language())
    return {value: words.get(f"{column}s.{value}", value) for value in values}


def _translate(part: Any, key: str = "") -> Any:
    if isinstance(part, dict):
        return {name: _translate(value, str(name)) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_translate(value, key) for value in part]
    return from_analysis(part) if isinstance(part, str) and key in _WORDS_OF_FIGURES else part


def _flat(tables: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in tables.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", value.strip()))
    return pairs
