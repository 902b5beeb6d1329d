"""Work for processes of its own, which import this file alone."""

from __future__ import annotations

import os
import time
from pathlib import Path


def answer_later_first(folder: Path, step: int) -> int:
    """Answer the later items first, and end the process at item 9, when the others are answered."""
    if step == 9:
        while len(list(folder.iterdir())) < 4:  # the other process may still be starting
            time.sleep(0.05)
        time.sleep(0.5)
        os._exit(1)
    time.sleep(0.05 * (3 - step))
    (folder / str(step)).touch()
    return 10 * step
