"""What users get wrong, each a ValueError that says what is wrong with what, and the way out."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A file or state dict that can't be used as a network."""


class DataError(ValueError):
    """A data set that is missing or does not fit."""


class RunError(ValueError):
    """A run that can't be started, resumed or read."""


def first_line(error: BaseException) -> str:
    """The first line of another library's error, or its kind where it says nothing; 200 signs of it at most."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
