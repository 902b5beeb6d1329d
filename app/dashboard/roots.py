"""The folders that the server serves; pages open no path outside them.

Streamlit takes from a list what is in it, whatever a browser sends; what may be typed is checked here.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path

from app.dashboard.keys import CHECKPOINT_ENDINGS
from app.dashboard.server.access import own_folder
from app.dashboard.server.options import DATA_DIR, RUNS_DIR, server_options
from densenet_core import CheckpointError, RunError
from densenet_core.checkpoints.zoo import ZOO_FOLDER, zoo_names, zoo_path
from densenet_core.files import only_in
from densenet_core.training.runs.files import CONFIG, find_runs

MAX_LISTED = 500
MAX_EXAMINED = 20_000  # entries of a served folder, which may hold millions


def served_folders(arguments: Sequence[str] | None = None) -> tuple[Path, ...]:
    """Return the visitor's run folders, the zoo, and every ``--root`` of the command line."""
    return (runs_dir(), ZOO_FOLDER, *server_options(arguments).root)


@contextmanager
def in_served_folders() -> Iterator[None]:
    """Open files in the visitor's served folders only, wherever links lead at that time; also a decorator.

    What a page opens by a path is opened within it: a path that ``resolve_served`` checked may be another file by then.
    """
    with only_in((DATA_DIR, *served_folders())):
        yield


def runs_dir() -> Path:
    """Return the folder of the visitor's run folders: runs/, or the user's own in it where people log in."""
    return own_folder(RUNS_DIR)


def resolve_served(text: str, folders: Sequence[Path]) -> Path:
    """Return the file or run folder that was typed, if it lies in a served folder.

    What is outside is refused by its name alone: the disk is not asked, so the answer is the same whether it is there
    or not. ``~`` is a name like any other.

    Raises:
        CheckpointError: it does not, also where a symbolic link or ".." leads out, or it is not there.
    """
    path = Path(os.path.abspath(text))
    if "\0" in text or not any(_lies_in(path, folder) for folder in folders) or not is_served(path, folders):
        raise CheckpointError(
            f"{text!r} is outside the folders that this server serves: start it with --root DIR to add one"
        )
    if not os.path.exists(path):
        raise CheckpointError(f"there is no {text!r}")
    return path.resolve()


def data_path(text: str) -> Path:
    """Return the folder of a data set that was typed: data/, or one in data/ or in a served folder.

    Raises:
        CheckpointError: as ``resolve_served``.
    """
    return DATA_DIR if Path(text) == DATA_DIR else resolve_served(text, (DATA_DIR, *served_folders()))


def list_image_folders() -> list[str]:
    """Folders with folders in them below data/ and the served folders, to choose from."""
    roots = [
        folder for folder in dict.fromkeys((DATA_DIR, *served_folders())) if folder not in (runs_dir(), ZOO_FOLDER)
    ]
    found = (path for root in roots if root.is_dir() for path in (root, *_subfolders(root)))
    return list(dict.fromkeys([str(DATA_DIR), *(str(path) for path in islice(found, MAX_LISTED))]))


def _subfolders(root: Path) -> Iterator[Path]:
    """Folders down to the second level that have folders in them."""
    first = [Path(entry.path) for entry in _entries(root, MAX_EXAMINED) if entry.is_dir()]
    second = (Path(entry.path) for path in first for entry in _entries(path, MAX_EXAMINED) if entry.is_dir())
    paths = sorted(islice(chain(first, second), MAX_LISTED))
    folders = (path for path in paths if str(path).isprintable() and is_served(path, [root]))
    return (path for path in folders if any(entry.is_dir() for entry in _entries(path, MAX_EXAMINED)))


def _lies_in(path: Path, folder: Path) -> bool:
    """Return whether a path begins with the folder, by names alone."""
    return path.is_relative_to(os.path.abspath(folder)) or path.is_relative_to(folder.resolve())


def is_served(path: Path, folders: Iterable[Path]) -> bool:
    """Return whether a path, and everything directly in it if it is a folder, resolves to these folders."""
    return _stays_in(path, [folder.resolve() for folder in folders])


def _stays_in(path: Path, roots: Sequence[Path]) -> bool:
    try:
        links = [entry.path for entry in os.scandir(path) if entry.is_symlink()] if path.is_dir() else []
        places = [path.resolve(), *(Path(link).resolve() for link in links)]
    except (OSError, RuntimeError):  # may not be read, is too long, or is a circle of links
        return False
    return all(any(place.is_relative_to(root) for root in roots) for place in places)


def list_served_runs(folders: Sequence[Path]) -> list[Path]:
    """Return the run folders with weights in the served folders."""
    return _drop_hidden((run for folder in folders for run in find_runs(folder)), folders)


def trained_runs() -> list[Path]:
    """Return the run folders with weights in the served folders, without the networks that ship."""
    return list_served_runs([folder for folder in served_folders() if folder != ZOO_FOLDER])


def trained_networks() -> list[Path]:
    """Return the run folders with weights in the served folders, then the networks that ship."""
    return [*trained_runs(), *(zoo_path(name) for name in zoo_names())]


def distinct_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a name for each path: its own, or the whole path where several share it."""
    names = {path: path.name.removesuffix(".safetensors") for path in paths}
    number = Counter(names.values())
    return {path: name if number[name] == 1 else str(path) for path, name in names.items()}


def training_folders() -> list[Path]:
    """Return the visitor's run folders, with weights or without."""
    return _drop_hidden(sorted(config.parent for config in runs_dir().glob(f"*/{CONFIG}")), [runs_dir()])


def _drop_hidden(runs: Iterable[Path], folders: Sequence[Path]) -> list[Path]:
    """Return the runs that do not lead out of the folders and whose names can be shown."""
    roots = [folder.resolve() for folder in folders]
    return [run for run in runs if run.name.isprintable() and _stays_in(run, roots)]


def check_run_folder(folder: Path) -> None:
    """Raise RunError if a run of this name would be written outside runs/, through a link."""
    if not is_served(folder, [runs_dir()]):
        raise RunError(f"name {folder.name!r} leads out of {str(runs_dir())!r}: take another")


def list_files(folders: Sequence[Path]) -> list[str]:
    """Checkpoint files in the folders, by name: at most ``MAX_LISTED``, among the first ``MAX_EXAMINED`` entries."""
    files = (file for folder in folders for file in sorted(_checkpoints(folder)))
    return list(islice((str(file) for file in files if is_served(file, folders)), MAX_LISTED))


def _checkpoints(folder: Path) -> Iterator[Path]:
    """Files by their endings, those of a folder before those of its subfolders."""
    waiting, left = deque([folder]), MAX_EXAMINED
    while waiting and left:
        for entry in _entries(waiting.popleft(), left):
            left -= 1
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif path.suffix in CHECKPOINT_ENDINGS and str(path).isprintable() and path.is_file():
                yield path


def _entries(folder: Path, number: int) -> list[os.DirEntry[str]]:
    """The first entries of a folder that can be read, by name."""
    with suppress(OSError), os.scandir(folder) as entries:
        return sorted(islice(entries, number), key=lambda entry: entry.name)
    return []
