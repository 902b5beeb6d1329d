"""How a page shows a tidy table: its columns named for people, in the session's language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from app.dashboard.language import column_labels, value_labels

WORDS = ("target_kind", "operation", "origin")  # columns whose values have words of their own


def show_table(table: pd.DataFrame, **options: Any) -> None:
    """Draws the table; ``options`` are ``st.dataframe``'s. Its columns keep their own names in CSV files."""
    words = {name: table[name].map(value_labels(name, table[name].unique())) for name in WORDS if name in table}
    st.dataframe(table.assign(**words), column_config=column_labels(table.columns), hide_index=True, **options)


@st.fragment
def show_table_on_opening(title: str, table: Callable[[], pd.DataFrame], key: str) -> None:
    """A closed expander with a table that is computed and sent once it is opened."""
    expander = st.expander(title, icon=":material/table:", key=key, on_change="rerun")
    if expander.open:
        with expander:
            show_table(table())
