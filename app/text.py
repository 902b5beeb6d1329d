"""Words on the screen: foreign text shown as it is, and numbers as people write them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from app.dashboard.keys import CHECKPOINT_ENDINGS
from densenet_core import Checkpoint
from densenet_core.networks.spec import Spec

# What Streamlit makes links, icons and signs of after Markdown is read, so that a backslash does not keep it from it.
_LIVE = re.compile(
    r"(?=https?://|www\.|@)|(?<=:)(?=material[/_]|streamlit:)|(?<!\S)(?=(?:<->|->|<-|--|>=|<=|~=)(?!\S))", re.IGNORECASE
)
MOST_SHOWN = 200  # signs of a value that others wrote
_WORD_JOINER = "\u2060"  # is not seen


def visible(text: str) -> str:
    """Text in one line, with a mark where a character can't be seen or would turn the others around."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(text.split()))


def literal(text: str) -> str:
    """Text of a file or an error, so that Streamlit's Markdown shows it letter for letter."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])", r"\\\1", _LIVE.sub(_WORD_JOINER, visible(text)))


def network_name(origin: str, name: str, spec: Spec) -> str:
    """A short name for a network: a file's or run's own, an architecture's as papers write it."""
    if origin == "file":
        path = Path(name)
        return path.stem if path.suffix in CHECKPOINT_ENDINGS else path.name
    return spec.title if origin == "upload" else name


def network_facts(checkpoint: Checkpoint) -> dict[str, str]:
    """What is known of a network: its title, its size, and what its record says of its training.

    Returns:
        Values by their names, the keys of ``FACT_TITLES``; a fact that the record lacks is left out.
    """
    record = checkpoint.record
    facts = {"network": checkpoint.spec.title, "params": f"{checkpoint.num_params:,}"}
    return facts | {key: shown(record[key], form) for key, form in _RECORD_FACTS.items() if record.get(key) is not None}


FACT_TITLES = {
    "network": "Network",
    "params": "Parameters",
    "dataset": "Trained on",
    "epochs": "Epochs",
    "seed": "Seed",
    "test_error": "Test error, last epoch",
}
_RECORD_FACTS = {"dataset": "{}", "epochs": "{}", "seed": "{}", "test_error": "{:.2f} %"}


def shown(value: Any, form: str) -> str:
    """A value of a record in its form, or as it is where others wrote something else."""
    try:
        text = form.format(value)
    except (TypeError, ValueError, OverflowError):
        text = str(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} …"
