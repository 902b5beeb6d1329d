"""How the Notes page shows a tidy table: its columns in the session's language."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.language import t


def show_table(table: pd.DataFrame) -> None:
    """The table with its columns named for people."""
    st.dataframe(table.rename(columns={column: t(f"notes.columns.{column}") for column in table}), hide_index=True)
