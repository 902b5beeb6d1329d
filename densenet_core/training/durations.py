"""Durations in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a duration in a readable unit: 45 s, 12 min, 3.5 h.

    >>> duration(5400)
    '1.5 h'
    """
    return " ".join(number_and_unit(seconds))


def number_and_unit(seconds: float) -> tuple[str, str]:
    """Return the number and the unit of a duration: s, min or h.

    >>> number_and_unit(720)
    ('12', 'min')
    """
    if seconds < 90:
        return f"{seconds:.0f}", "s"
    return (f"{seconds / 60:.0f}", "min") if seconds < 5400 else (f"{seconds / 3600:.1f}", "h")
