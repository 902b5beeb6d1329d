"""The code that a page offers, run in an empty folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.dashboard.widgets import downloads
from app.dashboard.widgets.downloads import Item

CHEAP = ("csv", "npy", "pdf", "tex", "gif")  # other formats take as long, and are of the same figure


def make_again(
    found: AppTest, folder: Path, monkeypatch: pytest.MonkeyPatch, leave_out: Collection[str] = ()
) -> set[str]:
    """Run the code of what the page offers in an empty folder: it writes what the page would; return all names.

    Args:
        leave_out: names of what another test makes.
    """
    monkeypatch.chdir(folder)
    items: dict[str, Item] = found.session_state[downloads._ITEMS]
    for name, item in items.items():
        if name in leave_out:
            continue
        exec(item.code.python, {})
        for ending, content in item.files().items():
            file = Path(f"{name}.{ending}")
            if ending in CHEAP or item.formats == ("png",):
                offered = content()
                assert offered and file.read_bytes() == offered, file
    return set(items)
