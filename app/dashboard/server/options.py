"""The options of the server, after ``densenet-lens serve`` or after the ``--`` of ``streamlit run app/main.py --``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from densenet_core.checkpoints.zoo import ZOO_FOLDER

RUNS_DIR = Path("runs")
DATA_DIR = Path("data")
LOCAL_ADDRESSES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ServerOptions:
    """The folders that the server serves, and what a visitor may do."""

    root: tuple[Path, ...] = ()  # folders to serve beside runs/ and the zoo
    read_only: bool = False  # no training, and nothing is written
    public: bool = False  # may listen on other addresses than localhost
    max_upload: int = 500  # MB per file
    session_memory: int = 1024  # MB of uploads that one session may hold at the same time
    jobs: int | None = None  # measurements that run at the same time; others wait
    allow: tuple[str, ...] = ()  # who may log in: addresses, @domains and group:NAMEs

    @property
    def places(self) -> int:
        """How many measurements run at the same time: ``jobs``, by default half the cores."""
        return self.jobs or max(1, (os.cpu_count() or 2) // 2)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that are served: runs/ of all users, data/, the zoo, and every ``--root``."""
        return (RUNS_DIR, DATA_DIR, ZOO_FOLDER, *self.root)

    def check_address(self, address: str | None) -> None:
        """Check that the server may listen on this address.

        Raises:
            ValueError: strangers could reach it, and may do more than read.
        """
        if address in LOCAL_ADDRESSES or (self.public and self.read_only):
            return
        raise ValueError(
            f"the address {address or 'of all networks'} lets strangers in: give --public and --read-only, "
            "or listen on localhost behind a proxy (SECURITY.md)"
        )

    def __post_init__(self) -> None:
        for name in ("max_upload", "session_memory", "jobs"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} {value} must be 1 or more")
        if self.max_upload > self.session_memory:
            raise ValueError(
                f"--max-upload {self.max_upload} is more than --session-memory {self.session_memory}: raise the second"
            )
        for entry in self.allow:
            if "@" not in entry and not entry.lower().startswith("group:"):
                raise ValueError(f"--allow {entry!r} is neither an address, nor @domain, nor group:NAME")

    def arguments(self) -> list[str]:
        """Return the command-line arguments that give these options."""
        words: list[str] = []
        for option in fields(self):
            name, value = f"--{option.name.replace('_', '-')}", getattr(self, option.name)
            values = value if isinstance(value, tuple) else () if value is None or isinstance(value, bool) else (value,)
            words += [f"{name}={each}" for each in values] + ([name] if value is True else [])
        return words


def server_options(arguments: Sequence[str] | None = None) -> ServerOptions:
    """Return the options in ``arguments``, by default in the command line of this process; unknown ones are ignored.

    >>> server_options(["--read-only", "--jobs", "4"]).jobs
    4

    Raises:
        ValueError: a value is wrong.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in fields(ServerOptions):
        name, default = f"--{option.name.replace('_', '-')}", option.default
        how: dict[str, Any] = {"type": int, "default": default}
        if isinstance(default, bool):
            how = {"action": "store_true"}
        elif isinstance(default, tuple):
            how = {"action": "append", "type": Path if option.name == "root" else str, "default": []}
        parser.add_argument(name, **how)
    try:
        known, _ = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    values: dict[str, Any] = vars(known)
    values |= {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return ServerOptions(**values)
