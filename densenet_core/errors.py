"""Exceptions for users' mistakes: each message names the argument, its value, and a fix."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from typing import Any, TypeVar

# <_io.BytesIO object at 0x7f60>, <_io.BufferedReader name=4>, pyarrow's '<Buffer>'
_OBJECT = re.compile(r"\s*(['\"]?)<(?:[\w.]+ (?:object )?(?:at 0x[0-9a-fA-F]+|name=[^<>]*)|Buffer)>\1")


class CheckpointError(ValueError):
    """A file or state dict that can't be used as a network."""

    def __reduce__(self) -> tuple[Any, ...]:  # a class whose message is made of its arguments is not called with it
        return _restored, (type(self), self.args, vars(self))


def _restored(kind: type[CheckpointError], args: tuple[Any, ...], facts: dict[str, Any]) -> CheckpointError:
    error = kind.__new__(kind, *args)
    vars(error).update(facts)
    return error


class DamagedFileError(CheckpointError):
    """A file that is cut short or was changed.

    >>> str(DamagedFileError("the file ends in the middle of a tensor"))
    'the file ends in the middle of a tensor: copy or download it again'
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: copy or download it again")


class SeveralNetworksError(CheckpointError):
    """A file with several networks, of which the user must choose one by its name."""

    def __init__(self, names: Sequence[str]) -> None:
        names = [name[:100] for name in names]
        shown = ", ".join(map(repr, names[:6])) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        super().__init__(
            f"the file holds {len(names)} networks, {shown}: "
            "choose one with --weights NAME, or load_checkpoint(path, weights=NAME)"
        )
        self.names = tuple(names)


class OpenNormsError(CheckpointError):
    """Weights that do not show the kind of their norms, and do not fit the usual one: the user must choose it."""


class DataError(ValueError):
    """A data set that is missing or does not fit the network."""


class RunError(ValueError):
    """A training run that can't be started, resumed or read."""


class FileError(ValueError):
    """A file that can't be read, whatever it is for; the message starts with "it" or "its name"."""


E = TypeVar("E", bound=CheckpointError)


def reworded(error: E, message: str) -> E:
    """Return an error of the same class and facts with another message, to be raised ``from`` it.

    >>> reworded(DamagedFileError("it is empty"), "a.pth: it is empty")
    DamagedFileError('a.pth: it is empty')
    """
    other = copy(error)
    other.args = (message,)
    return other


def own_words(error: object, otherwise: str) -> str:
    """Return the words of an error of the suite or the operating system, and ``otherwise`` for any other library's.

    >>> own_words(KeyError("x"), "it is damaged")
    'it is damaged'
    """
    if isinstance(error, CheckpointError | DataError | RunError | FileError):
        return str(error)
    return getattr(error, "strerror", None) or otherwise


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error, or its type where it has no message; at most 200 characters.

    Python objects in it, which mean nothing to a user, are left out.

    >>> first_line(ValueError("cannot identify image file <_io.BytesIO object at 0x7f60>"))
    'cannot identify image file'
    """
    return _OBJECT.sub("", next(iter(str(error).strip().splitlines()), ""))[:200] or type(error).__name__
