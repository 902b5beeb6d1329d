"""The command line, `densenet-lens`: every command chooses, calls a function or two and prints what they gave.

What a user gets wrong is told in one line on stderr, with exit code 2. Heavy libraries are imported by the command
that needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

import typer

from app.cli import effects, efficiency, figures, networks, training

INTERRUPTED = "interrupted; the same line again goes on with a training or an ablation where it was"

app = typer.Typer(
    name="densenet-lens",
    help="See how the layers of a trained DenseNet reuse each other's features, and what networks cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    networks.reuse,
    effects.agreement,
    effects.claims,
    effects.prune,
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
):
    app.command()(command)


def main() -> None:
    """Runs the command line and exits with its code."""
    gc.disable()  # collecting while torch is imported costs a fifth of the start; long commands turn it on again
    code = run(sys.argv[1:])
    gc.freeze()  # nothing is collected piece by piece at the exit: half a second
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one command: 0, or 2 for what the user got wrong, or 130 where it was interrupted."""
    try:
        code = app(list(arguments), prog_name="densenet-lens", standalone_mode=False) or 0
        return _complain(INTERRUPTED, code) if code == 130 else code  # typer takes the interrupt and gives its code
    except typer.Abort:
        return _complain(INTERRUPTED, code=130)
    except typer.TyperException as error:
        if not (message := error.format_message()):
            return 2  # no command was given: the help is on the screen
        return _complain(f"{message} (densenet-lens --help tells more)", code=2)
    except OSError as error:
        return _complain(f"{error.filename or 'a file'}: {error.strerror or error}", code=2)
    except ValueError as error:  # every error of the suite that a user can mend is one
        return _complain(str(error), code=2)


def _complain(message: str, code: int) -> int:
    print("densenet-lens:", " ".join(message.split()), file=sys.stderr)
    return code
