"""Command-line options made from the fields of a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, TypeVar

import typer

from densenet_core.training.settings import Setting, is_required

Command = TypeVar("Command", bound=Callable[..., None])


def setting_options(settings: Sequence[Setting], by_recipe: Collection[str]) -> Callable[[Command], Command]:
    """Add an option to a command for each setting that is not among its own parameters.

    The command takes them as ``**settings``: the values by name, None for options that were not given.

    Args:
        by_recipe: the settings whose default depends on the recipe.
    """

    def add(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters
        by_name = inspect.Parameter.KEYWORD_ONLY
        kept = {n: each.replace(kind=by_name) for n, each in own.items() if each.kind is not each.VAR_KEYWORD}
        made = {each.name: _parameter(each, each.name in by_recipe) for each in settings}
        ordered = [kept.get(name, option) for name, option in made.items()]
        ordered += [each for name, each in kept.items() if name not in made]
        command.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]  # what typer reads
        command.__annotations__ = {each.name: each.annotation for each in ordered}
        return command

    return add


def parse_values(settings: Sequence[Setting], values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the options that were given, by the settings' names."""
    by_name = {each.name: each for each in settings}
    return {
        key: by_name[key].parse(value) if isinstance(value, str) else value
        for key, value in values.items()
        if value is not None
    }


def _parameter(each: Setting, is_by_recipe: bool) -> inspect.Parameter:
    needed = is_required(each)
    unit = f" In {each.about.unit}." if each.about.unit else ""
    declared = f"{each.option}/{each.option.replace('--', '--no-', 1)}" if each.kind is bool else each.option
    option = typer.Option(
        declared,
        help=each.about.help + unit,
        metavar=None if each.kind is bool else _metavar(each),
        show_default=False if needed else "the recipe's" if is_by_recipe else _default(each),
    )
    kind = str if each.kind is tuple else each.kind
    return inspect.Parameter(
        each.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if needed else None,
        annotation=Annotated[kind if needed else kind | None, option],
    )


def _metavar(each: Setting) -> str:
    if each.choices:
        return "|".join(each.choices)
    return {int: "INTEGER", float: "NUMBER", tuple: "NUMBER,..."}.get(each.kind, "TEXT")


def _default(each: Setting) -> str | bool:
    if each.kind is bool:
        return "on" if each.default else "off"
    return False if each.default is None else str(each.default)
