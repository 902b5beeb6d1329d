"""Form widgets made from the fields of a training configuration."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.dashboard.language import t
from densenet_core.training.settings import Setting

FIRST_VALUES = {"epochs": 30, "seed": 0}  # shown in the empty form; the others are the recipe's
MAX_INTEGER = 2**53 - 1  # what a browser's numbers hold


def setting_widget(each: Setting, recipes: str | None) -> Any:
    """Draw the widget of one setting and return its value: None where the recipe's or the default is wanted.

    Args:
        recipes: the recipe's value in words, which the empty widget shows; None where it has none.
    """
    label, key, help = t(f"training.settings.{each.name}"), f"new_{each.name}", f"`{each.option}`"
    default = each.default
    hint = recipes if recipes is not None else "" if default is None else str(default)
    if each.kind is bool:
        return st.checkbox(label, bool(default), key=key, help=help)
    if each.choices:
        return st.selectbox(label, each.choices, index=None, placeholder=hint or "–", key=key, help=help)
    if each.kind in (int, float):
        return _number(each, label, hint, key, help)
    hint = ", ".join(map(str, default)) if each.kind is tuple else hint
    text = st.text_input(label, placeholder=hint, key=key, help=help)
    return each.parse(text) if text.strip() else None


def _number(each: Setting, label: str, hint: str, key: str, help: str) -> float | None:
    convert, about = each.kind, each.about
    first = FIRST_VALUES.get(each.name)
    value: float | None = st.number_input(
        label,
        min_value=None if about.minimum is None else convert(about.minimum),
        max_value=None if about.maximum is None else convert(min(about.maximum, MAX_INTEGER)),
        value=first if first is None else convert(first),
        step=1 if convert is int else None,
        format=None if convert is int else "%g",
        placeholder=hint,
        key=key,
        help=help,
    )
    return value
