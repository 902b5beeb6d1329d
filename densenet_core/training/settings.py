"""Describe settings once: the fields of a configuration dataclass, with their checks, parsing and documentation.

Command-line options, the dashboard's form, the validation of a configuration and the comparison on resuming are
derived from these descriptions, so a new setting is one field of the dataclass.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from densenet_core.errors import RunError

# So that config.json stays small, whatever a file of settings holds.
MAX_TEXT, MAX_NUMBERS = 4096, 1000
_KIND_NAMES: dict[type, str] = {
    int: "an integer",
    float: "a number",
    str: f"text of up to {MAX_TEXT} characters",
    bool: "true or false",
    tuple: f"up to {MAX_NUMBERS} numbers",
}


@dataclass(frozen=True)
class About:
    """The description of a setting beyond its type and default."""

    help: str
    unit: str = ""
    minimum: float | None = None
    above: float | None = None  # an exclusive minimum
    maximum: float | None = None
    choices: Sequence[str] = ()  # known names of an open set; a Literal's are taken from the type
    option: str = ""  # the command line's name, where it is not the field's
    is_place: bool = False  # may differ where the same run is resumed
    is_path: bool = False  # a file or folder of the machine that trains: a form for strangers must not ask for it


def setting(default: Any, help: str, **about: Any) -> Any:
    """Return a dataclass field with a default and its description (the fields of ``About``)."""
    return field(default=default, metadata={"about": About(help, **about)})


def required_setting(help: str, **about: Any) -> dict[str, About]:
    """Return the metadata of a dataclass field without a default."""
    return {"about": About(help, **about)}


@dataclass(frozen=True)
class Setting:
    """One field of a configuration."""

    name: str
    kind: type  # str, int, float, bool, or tuple for several numbers
    is_optional: bool  # whether None is a value
    default: Any  # MISSING where one has to be given
    choices: tuple[str, ...]
    is_closed: bool  # whether nothing but the choices is allowed
    about: About

    @property
    def option(self) -> str:
        """The command line's name, such as ``--batch-size``."""
        return self.about.option or f"--{self.name.replace('_', '-')}"

    def check(self, value: Any) -> None:
        """Raise RunError if the value has the wrong type, is out of range or is not a choice."""
        if value is None and self.is_optional:
            return
        if self.is_closed and value not in self.choices:
            raise RunError(f"{self.name} {shorten(value)} is not one of {', '.join(self.choices)}")
        values = value if self.kind is tuple and isinstance(value, tuple | list) else [value]
        is_short = len(values) <= MAX_NUMBERS
        if not is_short or not all(map(self._fits, values)) or (self.kind is tuple and values == [value]):
            raise RunError(f"{self.name} {shorten(value)} must be {self._expected()}")

    def parse(self, text: str) -> Any:
        """Return the value of a command-line argument.

        Raises:
            RunError: the text can't be converted.
        """
        if self.kind is not tuple:
            return text
        try:
            return tuple(float(part) for part in text.split(",") if part.strip())
        except ValueError as error:
            raise RunError(f"{self.name} {text!r} must be {self._expected()}, separated by commas") from error

    def arguments(self, value: Any) -> list[str]:
        """Return the command-line arguments that set this value; none for None."""
        if value is None:
            return []
        if self.kind is bool:
            return [self.option if value else self.option.replace("--", "--no-", 1)]
        return [f"{self.option}={','.join(map(str, value)) if self.kind is tuple else value}"]

    def _fits(self, value: Any) -> bool:
        if self.kind is str:
            return isinstance(value, str) and len(value) <= MAX_TEXT
        if self.kind is bool:
            return isinstance(value, bool)
        if isinstance(value, bool) or not isinstance(value, int if self.kind is int else int | float):
            return False
        about = self.about
        largest = sys.float_info.max
        low = -largest if about.minimum is None else about.minimum
        high = largest if about.maximum is None else about.maximum
        return low <= value <= high and (about.above is None or value > about.above)

    def _expected(self) -> str:
        about, parts = self.about, [_KIND_NAMES[self.kind]]
        if about.above is not None:
            parts.append(f"above {about.above:g}")
        if about.minimum is not None and about.maximum is None:
            parts.append(f"{about.minimum:g} or more")
        elif about.maximum is not None:
            low = "up" if about.minimum is None else f"from {about.minimum:.0f}"
            parts.append(f"{low} to {about.maximum:.0f}")
        return " ".join(parts) if about.above is not None else ", ".join(parts)


@cache
def settings_of(config_class: Any) -> tuple[Setting, ...]:
    """Return the settings of a configuration dataclass, in the order of its fields."""
    hints = get_type_hints(config_class)
    return tuple(_setting(each, hints[each.name]) for each in fields(config_class))


def _setting(each: Any, hint: Any) -> Setting:
    about: About = each.metadata["about"]
    is_union = get_origin(hint) in (Union, UnionType)
    inner = next(part for part in get_args(hint) if part is not NoneType) if is_union else hint
    is_closed = get_origin(inner) is Literal
    kind = str if is_closed else get_origin(inner) or inner
    choices = get_args(inner) if is_closed else tuple(about.choices)
    return Setting(each.name, kind, is_union, each.default, choices, is_closed, about)


def shorten(value: Any) -> str:
    """Return a value as an error shows it, in 100 characters at most."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**50 else "with more than 50 digits"
    return text if len(text) < 100 else f"{text[:100]}..."


def is_required(each: Setting) -> bool:
    """Return whether the setting has no default."""
    return each.default is MISSING
