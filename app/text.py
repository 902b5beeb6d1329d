"""Text on the pages: other people's text shown letter for letter, and numbers as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from app.dashboard.keys import CHECKPOINT_ENDINGS
from densenet_core import Checkpoint
from densenet_core.networks.spec import Spec

# What Streamlit turns into links, icons and arrows after it has read the Markdown: a backslash does not prevent it.
_LIVE = re.compile(
    r"(?=https?://|www\.|@)|(?<=:)(?=material[/_]|streamlit:)|(?<!\S)(?=(?:<->|->|<-|--|>=|<=|~=)(?!\S))", re.IGNORECASE
)
MAX_SHOWN = 200  # characters of a value in someone else's file
_WORD_JOINER = "\u2060"  # invisible


def one_line(text: str) -> str:
    """Return text in one line, with U+FFFD for characters that can't be seen or would reverse others."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(text.split()))


def literal(text: str) -> str:
    """Return text escaped so that Streamlit's Markdown shows it letter for letter."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])", r"\\\1", _LIVE.sub(_WORD_JOINER, one_line(text)))


def suite_version() -> str:
    """Return the version of this suite; "from source" where it is not installed."""
    try:
        return version("densenet-lens")
    except PackageNotFoundError:
        return "from source"


def network_name(origin: str, name: str, spec: Spec) -> str:
    """Return a short name for a network: a file's or run's own, an architecture's as papers write it."""
    if origin == "file":
        path = Path(name)
        return path.stem if path.suffix in CHECKPOINT_ENDINGS else path.name
    return spec.title if origin == "upload" else name


def network_facts(checkpoint: Checkpoint) -> dict[str, str]:
    """Return a network's title, its size, its training according to its record, what is assumed, and caveats.

    Returns:
        Values by name, the keys of ``FACT_TITLES``; facts that are not known are left out.
    """
    record = checkpoint.record
    facts = {"network": checkpoint.spec.title, "params": f"{checkpoint.num_params:,}"}
    known = {key: form for key, form in _RECORD_FACTS.items() if record.get(key) is not None}
    facts |= {key: format_value(record[key], form) for key, form in known.items()}
    if "epochs" in facts and isinstance(start := record.get("started_from"), Mapping):
        before = format_value(start.get("epochs", "?"), "{}")
        facts["epochs"] = f"{before} + {facts['epochs']}"
    doubts = {"assumed": "; ".join(checkpoint.assumed), "caveats": "; ".join(checkpoint.caveats)}
    return facts | {name: words for name, words in doubts.items() if words}


FACT_TITLES = {
    "network": "Network",
    "params": "Parameters",
    "dataset": "Trained on",
    "epochs": "Epochs",
    "seed": "Seed",
    "test_error": "Test error",
    "assumed": "Assumed",
    "caveats": "Caveat",
}
_RECORD_FACTS = {"dataset": "{}", "epochs": "{}", "seed": "{}", "test_error": "{:.2f} %"}


def decimal(value: float, digits: int = 2) -> str:
    """Return a number with so many decimals, or a dash where it is not defined.

    >>> decimal(0.5), decimal(float("nan"))
    ('0.50', '–')
    """
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """Return a number with three significant digits and its sign, which 0 does not have.

    >>> signed(1.5), signed(-0.25), signed(0.0)
    ('+1.5', '−0.25', '0')
    """
    return f"{value:+.3g}".replace("-", "−") if value else "0"


def format_value(value: Any, form: str) -> str:
    """Return a value of a record in its format, or unchanged where it is of another type."""
    try:
        text = form.format(value)
    except (TypeError, ValueError, OverflowError):
        text = str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]} …"
