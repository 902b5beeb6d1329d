"""How every Plotly figure of the dashboard is put on a page: in its own colours, without Plotly's tool bar."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app.language import translated


def show_chart(figure: go.Figure, key: str, alt: str | None = None, **options: Any) -> None:
    """Draws a figure; ``alt`` says in words what it shows, and ``options`` are ``st.plotly_chart``'s."""
    st.plotly_chart(translated(figure), theme=None, key=key, alt=alt, config={"displayModeBar": False}, **options)
