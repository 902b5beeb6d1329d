"""The folders that the server was told to serve; no path of a page leaves them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from densenet_core import CheckpointError
from densenet_core.runs import find_runs
from densenet_core.zoo import ZOO_FOLDER

RUNS_DIR = Path("runs")
CHECKPOINT_ENDINGS = (".safetensors", ".pt", ".pth", ".th", ".ckpt", ".tar", ".h5", ".keras", ".onnx")
MOST_LISTED = 500


def served_folders(arguments: Sequence[str] | None = None) -> tuple[Path, ...]:
    """runs/, the zoo, and every ``--root`` after the ``--`` of the command line."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--root", action="append", default=[], type=Path)
    known, _ = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    return (RUNS_DIR, ZOO_FOLDER, *known.root)


def served_path(text: str, folders: Sequence[Path]) -> Path:
    """The file or run folder that was typed, if it lies in a served folder.

    Raises:
        CheckpointError: it does not, also where a symbolic link or ".." leads out, or it is not there.
    """
    try:
        path = Path(text).expanduser().resolve()
    except (OSError, ValueError, RuntimeError):
        raise CheckpointError(f"{text!r} is no path") from None
    if not any(path.is_relative_to(folder.resolve()) for folder in folders):
        raise CheckpointError(
            f"{text!r} is outside the folders that this server serves: start it with `-- --root DIR` to add one"
        )
    if not path.exists():
        raise CheckpointError(f"there is no {text!r}")
    return path


def listed_runs(folders: Sequence[Path]) -> list[Path]:
    """The run folders in the served folders."""
    return [run for folder in folders for run in find_runs(folder)]


def listed_files(folders: Sequence[Path]) -> list[str]:
    """Checkpoint files in the folders, by name; at most ``MOST_LISTED``."""
    files: list[str] = []
    for folder in folders:
        found = (file for file in sorted(folder.rglob("*")) if file.suffix in CHECKPOINT_ENDINGS and file.is_file())
        files += [str(file) for file, _ in zip(found, range(MOST_LISTED - len(files)), strict=False)]
    return files
