"""Print pairs, tables, JSON, a progress bar, and untrusted text with its control characters escaped."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from densenet_core import Checkpoint

MAX_MESSAGE = 600  # characters of an error that are shown


def escape_text(text: object) -> str:
    r"""Return text as one line, with the characters that a terminal would act on escaped.

    Names and records in untrusted files may contain escape sequences that rewrite the screen.

    >>> escape_text("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    one_line = " ".join(str(text).split(" "))
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in one_line)


_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quiet(is_quiet: bool) -> Iterator[None]:
    """Show only results and errors inside this context: no progress, and no names of written files."""
    token = _QUIET.set(is_quiet)
    try:
        yield
    finally:
        _QUIET.reset(token)


def is_quiet() -> bool:
    """Return whether only results and errors are shown."""
    return _QUIET.get()


@dataclass(frozen=True)
class Command:
    """The command that runs: its words, and the networks that it opened, by the names in the command."""

    words: Sequence[str] = ()
    opened: dict[str, Checkpoint] = field(default_factory=dict)


_COMMAND: ContextVar[Command | None] = ContextVar("command", default=None)


@contextmanager
def running(words: Sequence[str]) -> Iterator[None]:
    """Note the words of the command that runs in this context; the figures that it writes name them."""
    token = _COMMAND.set(Command(words))
    try:
        yield
    finally:
        _COMMAND.reset(token)


def note_opened(name: str, network: Checkpoint) -> None:
    """Note a network that the command opened; the figures that it writes name it."""
    if (command := _COMMAND.get()) is not None:
        command.opened[name] = network


def write_figure(figure: Figure, path: Path, table: pd.DataFrame | None = None) -> None:
    """Write a figure, with its table beside it, and print the files' names.

    The file says which networks it shows, and which command makes it again.
    """
    from analysis.figures.export import save_figure, with_facts
    from app.facts import figure_facts, weights_hash

    command = _COMMAND.get() or Command()
    hashes = {Path(name).name: weights_hash(network) for name, network in command.opened.items()}
    with with_facts(figure_facts(path.stem, hashes, join(["densenet-lens", *command.words]))):
        files = save_figure(figure, path, table)
    print_written(*files)


def shorten(text: str) -> str:
    """Return text, without its middle if it is longer than ``MAX_MESSAGE`` characters.

    >>> len(shorten("x" * 12_000))
    603
    """
    half = MAX_MESSAGE // 2
    return text if len(text) <= MAX_MESSAGE else f"{text[:half]} … {text[-half:]}"


def print_written(*files: Path, about: str = "") -> None:
    """Print the names of the files that a command wrote, on standard error: standard output has the results."""
    if not is_quiet():
        print(f"wrote {' '.join(escape_text(file) for file in files)}{about}", file=sys.stderr)


def print_line(text: str = "") -> None:
    """Print one line, with its control characters escaped; commands print nothing but by this module."""
    print(escape_text(text))


def print_text(text: str) -> None:
    """Print text of several lines, whose other control characters are escaped."""
    for line in text.replace("\r\n", "\n").split("\n"):
        print_line(line)


def print_notes(notes: Iterable[str]) -> None:
    """Print what is to be known about the results, a line each, on standard error."""
    for note in notes:
        print(f"note: {escape_text(note)}", file=sys.stderr)


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print labels and values, one pair a line."""
    pairs = list(pairs)
    width = max(len(label) for label, _ in pairs)
    for label, value in pairs:
        print(f"{escape_text(label):{width}}  {escape_text(value)}")


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in columns; columns of numbers are aligned to the right."""
    cells = [[escape_text(cell) for cell in row] for row in (header, *rows)]
    columns = list(zip(*cells, strict=True))
    sides = [">" if all(cell[:1].isdigit() for cell in column[1:]) else "<" for column in columns]
    widths = [max(map(len, column)) for column in columns]
    for row in cells:
        print("  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip())


def print_json(content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print JSON for scripts: NaN and infinity as null, other values that JSON lacks as text.

    Characters are escaped as JSON does it where they can't be seen, or the terminal's encoding is not Unicode.
    """
    is_unicode = str(getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    text = json.dumps(_finite(content), indent=2, ensure_ascii=not is_unicode, default=str)
    print("".join(sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a number of numpy or torch
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the time left on a terminal; yield a function of (done, total) that moves it.

    Report the steps done at the start as well: 0, or those of an earlier call.
    """
    if is_quiet():
        yield lambda done, total: None
        return
    from app.progress_bar import progress_bar

    with progress_bar(escape_text(what)) as report:
        yield report
