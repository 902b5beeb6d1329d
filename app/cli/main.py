"""The command line, ``densenet-lens``: each command calls a function or two and prints the result.

Heavy libraries are imported inside the command that needs them, so that ``--help`` answers at once.

Exit codes: 0 success, 1 internal error (please report it), 2 a mistake in the arguments or the data,
130 interrupted (Ctrl-C), 141 the reader of the output closed it, 143 terminated.
"""

from __future__ import annotations

import codecs
import gc
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from app.cli import claims, effects, efficiency, figures, networks, prediction, reuse, serve, training
from app.cli.output import escape_text, print_line, quiet, running, shorten

EVERYWHERE = ("--debug", "--quiet")  # options of every command
INTERRUPTED = "Interrupted. Run the same command again to resume a training or a measurement."
NO_MEMORY = "there is not enough memory: use a smaller network, smaller images or a smaller batch size"
REPORT = "internal error, please report it with the traceback that --debug prints"
NUMBERS = {"int_parsing": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number"}
# What a terminal without Unicode shows instead of the symbols of papers.
ASCII = {
    "γ": "gamma", "θ": "theta", "ℓ": "l", "Σ": "sum", "Δ": "delta", "→": "->", "±": "+/-", "×": "x", "·": "*",
    "≤": "<=", "≥": ">=", "≈": "~", "…": "...", "–": "-", "—": "-", "“": '"', "”": '"', "‘": "'", "’": "'",
}  # fmt: skip

app = typer.Typer(
    name="densenet-lens",
    help="Visualize how the layers of a trained DenseNet reuse each other's feature maps, and compare cost and error.",
    epilog="Every command takes --quiet (results and errors only) and --debug (the traceback of an error).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib import metadata

        print_line(f"densenet-lens {metadata.version('densenet-lens')}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options before a command."""


for command in (
    reuse.reuse,
    effects.agreement,
    claims.claims,
    effects.prune,
    prediction.explain,
    prediction.lens,
    prediction.classes,
    training.train,
    networks.evaluate,
    networks.inspect,
    networks.zoo,
    efficiency.cost,
    efficiency.compare,
    figures.figure,
    figures.short_paths,
    efficiency.table,
    training.sweep,
    training.runs,
    serve.serve,
):
    app.command()(command)


def main() -> None:
    """Run the command line and exit with its code."""
    gc.disable()  # collecting during the import of torch takes a fifth of the start; long commands enable it again
    prepare_streams()
    code = run(sys.argv[1:])
    gc.freeze()  # skip the collection at exit: half a second
    sys.exit(code)


def prepare_streams() -> None:
    """Let output never fail: open what the caller closed (`densenet-lens runs >&-`), and replace unknown characters.

    Warnings, which may name foreign files, are escaped as all other output.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # open until the end
        if hasattr(stream := getattr(sys, name), "reconfigure"):  # other streams are left as they are
            stream.reconfigure(errors="ascii_symbols")
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(EscapedFormatter())


class EscapedFormatter(logging.Formatter):
    """Warnings as one line each, with their control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_text(super().format(record))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    words = [word for word in arguments if word not in EVERYWHERE]
    debug = "--debug" in arguments
    try:
        with quiet("--quiet" in arguments), running(words):
            code = app(words, prog_name="densenet-lens", standalone_mode=False) or 0
        sys.stdout.flush()
        return _complain(INTERRUPTED, code) if code == 130 else code  # typer turns Ctrl-C into this code
    except (BrokenPipeError, SystemExit):  # typer exits when the reader closes the pipe: `inspect FILE | head`
        _discard_output()
        return 141
    except (typer.Abort, KeyboardInterrupt):
        return _complain(INTERRUPTED, code=130)
    except Exception as error:
        if _is_interrupt(error):
            _complain(INTERRUPTED, code=130)
            os._exit(130)  # a library whose import was interrupted can crash at the interpreter's end
        if debug:
            traceback.print_exc()
        return _explain(error, words)


def _explain(error: Exception, words: Sequence[str] = ()) -> int:
    """Print an error in one line, and return the exit code: 2 for mistakes of the user, 1 for bugs."""
    match error:
        case typer.TyperException():
            message = _mistake(error)  # empty without a command: the help is on the screen
            return _complain(f"{message} (see {_command(error, words)} --help)", code=2) if message else 2
        case OSError():
            place = error.filename or ("a file" if _is_output_open() else "the output")
            return _complain(f"{place}: {error.strerror or error}", code=2)
        case ValueError():  # every error of the suite that a user can fix is a ValueError
            return _complain(str(error), code=2)
    if _is_out_of_memory(error):
        return _complain(NO_MEMORY, code=2)
    return _complain(f"{REPORT} ({type(error).__name__}: {error})", code=1)


def _is_interrupt(error: BaseException | None) -> bool:
    """Return whether Ctrl-C caused an error: an import in C turns it into an error of its own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _mistake(error: typer.TyperException) -> str:
    """Return what is wrong with the arguments, with the value that is no number."""
    message = error.format_message().rstrip(".")
    unread: Any = error.__cause__ or error.__context__  # pydantic's error about a value that it can't read
    found = unread.errors()[0] if hasattr(unread, "errors") else {}
    if (kind := NUMBERS.get(str(found.get("type")))) is None:
        return message
    name = message.removeprefix("Invalid value for ").partition(": ")[0].strip("'")
    return f"{name} {str(found['input'])!r} is not {kind}"


def _command(error: typer.TyperException, words: Sequence[str]) -> str:
    """Return the command that an error is about, whose help says more."""
    context = getattr(error, "ctx", None)
    return context.command_path if context else " ".join(["densenet-lens", *words[:1]])


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether memory did not suffice, which torch says by a class of its own on GPUs and in words on CPUs."""
    words = ("can't allocate memory", "Storage size calculation overflowed")
    is_torchs = isinstance(error, RuntimeError) and any(each in str(error) for each in words)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or is_torchs


def _is_output_open() -> bool:
    """Return whether what was printed arrives; what does not, on a full disk, is discarded."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
        return False
    return True


def _discard_output() -> None:
    """Keep the interpreter from failing at its end on output that can't be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, code: int) -> int:
    print("densenet-lens:", shorten(escape_text(message)), file=sys.stderr)
    return code


def _ascii_symbols(error: UnicodeError) -> tuple[str, int]:
    """Replace what the terminal's encoding does not have: symbols by their names, other characters by escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    replaced = (ASCII.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in signs)
    return "".join(replaced), error.end


codecs.register_error("ascii_symbols", _ascii_symbols)
