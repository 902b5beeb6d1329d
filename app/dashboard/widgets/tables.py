"""Show a tidy table on a page, with titles of columns in the session's language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from analysis.figures.style.words import stage_title
from analysis.words import VALUE_TITLES
from app.dashboard.language import column_labels, column_title, translated
from app.dashboard.widgets.downloads import download_table
from app.dashboard.widgets.handover import Code

NUMBERS = "%.4g"  # four significant digits
MISSING = "–"
STAGES = ("stage", "Layers")  # columns of stages' names


def show_table(table: pd.DataFrame, **options: Any) -> None:
    """Draw a table; ``options`` are ``st.dataframe``'s. Its columns keep their own names in CSV files."""
    words = {name: _translated(table[name], titles) for name, titles in VALUE_TITLES.items() if name in table}
    words |= {name: table[name].map(lambda stage: translated(stage_title(stage))) for name in STAGES if name in table}
    labels = column_labels(table.columns)
    settings = {name: _column(table[name], labels.get(name)) for name in table.columns}
    shown = table.assign(**words)
    shown.attrs = {}  # they may hold what Arrow can't store
    st.dataframe(shown, column_config=settings, hide_index=True, placeholder=MISSING, **options)


def show_rows(rows: pd.DataFrame | Sequence[Mapping[str, Any]], **options: Any) -> None:
    """Draw rows under titles in words, each with a capital letter; ``options`` are ``st.dataframe``'s."""
    shown = pd.DataFrame(rows).rename(columns=column_title)
    st.dataframe(shown, hide_index=True, placeholder=MISSING, **options)


def show_numbers(table: pd.DataFrame, key: str) -> None:
    """Draw a table whose cells are numbers as text, aligned at the right; its index names the rows.

    Args:
        table: its cells are Markdown, whose lines wrap.
    """
    with st.container(key=f"numbers_{key}"):  # app/main.py aligns what has such a key
        st.table(table)


def _translated(values: pd.Series, titles: Mapping[Any, str]) -> pd.Series:
    words = {value: translated(titles.get(value, value)) for value in values.unique()}
    return values.map(words)


def _column(values: pd.Series, label: str | None) -> Any:
    """Whole numbers with thousands separators, others with four significant digits."""
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        return label
    known = values.dropna()
    is_whole = bool((known == known.round()).all())
    return st.column_config.NumberColumn(label, format="localized" if is_whole else NUMBERS)


@st.fragment
def show_table_on_opening(title: str, table: Callable[[], pd.DataFrame], key: str, code: Code) -> None:
    """Draw a closed expander with a table that is computed and sent once it is opened.

    Args:
        code: that saves the table as ``key``.csv.
    """
    expander = st.expander(title, icon=":material/table:", key=key, on_change="rerun")
    if expander.open:
        with expander:
            content = table()
            show_table(content)
            download_table(key, content, f"{key}_", code)
