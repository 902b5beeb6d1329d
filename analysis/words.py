"""The words of tables and figures: English texts with a key, by which other languages have their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self, TypeVar

Option = TypeVar("Option", bound=str | None)
_PLACE = re.compile(r"(?<!%)\{(\w+)(?::([^{}]*))?\}")  # {name} or {name:.2f}, and not Plotly's %{x}


class Phrase(str):
    """An English text that other languages can say too, by its key.

    It is a ``str`` like any other for tables, files and figures in English. ``str()`` keeps the phrase; formatting and
    joining make plain text of it, so text that is made of phrases is a phrase itself, with the others as its values.

    >>> share = Phrase("figures.share", "share of {whole}", whole=Phrase("figures.image", "the image"))
    >>> share
    'share of the image'
    >>> share.in_language({"figures.share": "{whole}: Anteil", "figures.image": "Bild"})
    'Bild: Anteil'

    Args:
        key: in the catalogues of other languages.
        template: the English text, with ``{name}`` or ``{name:.2f}`` in place of each value. Plotly's ``%{x}`` stays.
        values: phrases among them are said in the language of the whole.
    """

    key: str
    template: str
    values: dict[str, Any]

    def __new__(cls, key: str, template: str, **values: Any) -> Self:
        phrase = super().__new__(cls, _fill(template, values))
        phrase.key, phrase.template, phrase.values = key, template, values
        return phrase

    def __getnewargs_ex__(self) -> tuple[tuple[str, str], dict[str, Any]]:  # for copies and pickles
        return (self.key, self.template), self.values

    def __str__(self) -> str:
        return self

    def in_language(self, catalogue: Mapping[str, str]) -> str:
        """Return the phrase in the words of a catalogue, texts by key; in English where it has none."""
        values = {name: in_language(value, catalogue) for name, value in self.values.items()}
        return _fill(catalogue.get(self.key, self.template), values)


def in_language(value: Any, catalogue: Mapping[str, str]) -> Any:
    """Return a phrase in the words of a catalogue; anything else as it is."""
    return value.in_language(catalogue) if isinstance(value, Phrase) else value


def phrases(table: str, texts: Mapping[Option, str]) -> dict[Option, Phrase]:
    """Return the texts of options as phrases, whose keys are the options in a table of the catalogues.

    >>> phrases("scalings", {"rank": "rank in the whole network"})["rank"].key
    'scalings.rank'
    """
    return {option: Phrase(f"{table}.{option}", text) for option, text in texts.items()}


def _fill(template: str, values: Mapping[str, Any]) -> str:
    return _PLACE.sub(lambda place: format(values[place[1]], place[2] or ""), template)


VALUE_TITLES = {  # of the columns of tables whose values are names
    "target_kind": phrases(
        "target_kinds", {"dense_layer": "dense layer", "transition": "transition", "classifier": "classifier"}
    ),
    "operation": phrases("operations", {"concatenation": "concatenation", "summation": "summation"}),
    "origin": phrases("origins", {"published": "published", "measured": "measured"}),
}
