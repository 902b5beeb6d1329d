"""What this package writes into a file's metadata beside the weights: the spec and the record, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from densenet_core.errors import CheckpointError
from densenet_core.networks.families import FAMILY_BY_NAME, family_of
from densenet_core.networks.spec import Spec

METADATA_KEY = "densenet_lens"
MAX_DIGITS = 30  # of a whole number in a record
MAX_ASSUMED = 20
MAX_WORDS = 1000  # characters of what was assumed or doubted


def format_metadata(spec: Spec, record: dict[str, Any], **words: tuple[str, ...]) -> str:
    """Return a spec, a record, and what was ``assumed`` and doubted (``caveats``), as JSON."""
    lists = {name: list(own) for name, own in words.items() if own}
    return json.dumps({**_spec_to_json(spec), "record": record, **lists})


def parse_metadata(text: str) -> tuple[Spec, dict[str, Any], dict[str, Any]]:
    """Return the spec, the record, and what was assumed and doubted, from what ``format_metadata`` returned.

    Raises:
        CheckpointError: the text is something else.
    """
    try:
        content = json.loads(text, parse_int=_whole_number)
        lists = {name: content.get(name, ())[:MAX_ASSUMED] for name in ("assumed", "caveats")}
        words = {name: tuple(str(each)[:MAX_WORDS] for each in own) for name, own in lists.items()}
        if not isinstance(record := content["record"], dict):
            raise TypeError("the record is not an object")
        return _spec(content), record, words
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        is_own = isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError)  # a spec's own check
        why = f" ({error})" if is_own else ""
        raise CheckpointError(f"the file's metadata can't be read{why}: save the state_dict() anew") from error


def _whole_number(digits: str) -> int | str:
    """Return a whole number of JSON, or its text if it is too large for floats and tables."""
    return int(digits) if len(digits) <= MAX_DIGITS else digits


def _spec_to_json(spec: Spec) -> dict[str, Any]:
    """Return a spec as JSON, with nested specs in the same form."""
    values = spec.visible_fields().items()
    described = {key: _spec_to_json(value) if isinstance(value, Spec) else value for key, value in values}
    return {"family": family_of(spec).name, "spec": described}


def _spec(content: Mapping[str, Any]) -> Spec:
    """Return the spec that ``_spec_to_json`` wrote."""
    values: dict[str, Any] = {}
    for key, value in content["spec"].items():
        values[key] = _spec(value) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value
    return FAMILY_BY_NAME[content.get("family", "DenseNet")].spec(**values)
