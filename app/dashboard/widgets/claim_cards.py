"""Cards of claims: the badge of a verdict, and a claim's statement, statistic and criterion in words."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import pandas as pd
import streamlit as st

from analysis.claims.claim import Verdict
from app.dashboard.language import t, translated
from app.text import literal


class Badge(NamedTuple):
    """The look of a verdict."""

    color: Literal["green", "blue", "red", "orange", "gray"]
    icon: str


BADGES = {
    Verdict.HOLDS: Badge("green", ":material/check:"),
    Verdict.AS_UNTRAINED: Badge("blue", ":material/check:"),
    Verdict.FAILS: Badge("red", ":material/close:"),
    Verdict.UNDECIDED: Badge("orange", ":material/question_mark:"),
    Verdict.NOT_DECIDABLE: Badge("gray", ":material/help:"),
}


def verdict_words(verdict: str) -> str:
    """Return a verdict in the session's language."""
    return t(f"verdicts.{Verdict(verdict).name.lower()}")


def show_badge(verdict: str, words: str = "") -> None:
    """Draw the badge of a verdict, with its own words or others."""
    color, icon = BADGES[Verdict(verdict)]
    st.badge(words or verdict_words(verdict), icon=icon, color=color)


def badge_text(verdict: str) -> str:
    """Return the badge of a verdict as Markdown."""
    color, icon = BADGES[Verdict(verdict)]
    return f":{color}-badge[{icon} {verdict_words(verdict)}]"


def statement(claim: Any) -> str:
    """Return a claim's statement as Markdown, in the session's language."""
    return literal(translated(claim.statement))


def statistic(claim: Any) -> str:
    """Return what a claim's value is, as Markdown, in the session's language."""
    return literal(translated(claim.statistic))


def numbers(claim: Any) -> str:
    """Return a claim's value with its interval, its controls and its criterion as one line of Markdown."""
    if pd.isna(claim.value):
        return f"*{literal(translated(claim.reason))}*"
    parts = [f"**{claim.value:.3g}**{interval(claim)}"]
    if claim.num_untrained:
        extremes = f"{claim.untrained_low:.3g} – {claim.untrained_high:.3g}"
        parts.append(f"{t('claims.untrained')} {claim.untrained:.3g} ({extremes})")
    if claim.control:
        parts.append(f"{literal(translated(claim.control))} {claim.control_value:.3g}")
    parts.append(f"{t('claims.to_hold')} {translated(claim.criterion)}")
    return "  ·  ".join(parts)


def interval(claim: Any) -> str:
    """Return the interval of a claim's value, or nothing where it has none."""
    return "" if pd.isna(claim.low) else f" [{claim.low:.3g}, {claim.high:.3g}]".replace("inf", "∞")
