"""A link opens what its sender saw: the choices on each page are in its address, and come back from it."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.dashboard import memory
from app.dashboard.pages import GROUPS, PAGES
from app.dashboard.views.notes import SECTIONS
from tests.app.pages.pages import DIGITS, FEW

pytestmark = pytest.mark.slow
KINDS = ("selectbox", "multiselect", "number_input", "slider", "button_group", "toggle", "radio")
KEPT_OUT = ("origin", "zoo_name", "arch", "recent", "new_")  # the address names networks whole; forms are not in it
LEFT = ("images", "prediction_origin", "measure", "section")  # another one asks for what is not at hand
ADDRESS = {"network": f"zoo:{DIGITS}", "images_number": str(FEW), "networkb": "zoo:densenet-bc-76-12-digits"}


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """The options of what pages draw by ``remember``, by key: a widget itself knows their words only."""
    found: dict[str, list[Any]] = {}
    one, several = memory._read_address, memory._read_several

    def read_address(key: str, name: str, default: Any, allowed: list[Any] | None) -> Any:
        found[key] = allowed or []
        return one(key, name, default, allowed)

    def read_several(key: str, name: str, default: list[Any], named: dict[str, Any], is_open: bool) -> list[Any]:
        found[key] = list(named.values())
        return several(key, name, default, named, is_open)

    monkeypatch.setattr(memory, "_read_address", read_address)
    monkeypatch.setattr(memory, "_read_several", read_several)
    return found


def opened(page: str, address: dict[str, Any]) -> AppTest:
    script = f"from app.dashboard.pages import show_page\nshow_page({page!r})\n"
    found = AppTest.from_string(script, default_timeout=240)
    for name, value in address.items():
        found.query_params[name] = value
    found.run()
    assert not found.exception
    return found


def choices(page: AppTest) -> dict[str, Any]:
    """The widgets of a page by their keys, without those that a link does not hold."""
    widgets = {each.key: each for kind in KINDS for each in page.get(kind) if each.key}
    return {key: each for key, each in widgets.items() if not key.startswith(KEPT_OUT)}


def another(widget: Any, options: list[Any]) -> Any:
    """Another value of a widget than its own; its own where there is no other."""
    if widget.type in ("slider", "number_input"):
        step = widget.step or 1
        return widget.value + step if widget.value + step <= widget.max else widget.value - step
    if widget.type == "toggle":
        return not widget.value
    if isinstance(widget.value, list):
        return [each for each in options if each not in widget.value][:2] or widget.value[1:]
    return next((each for each in options if each != widget.value), widget.value)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("page", "section"), [*((page, "") for page in PAGES if page != "notes"), *(("notes", name) for name in SECTIONS)]
)
def test_a_link_opens_what_its_sender_saw(page: str, section: str, options: dict[str, list[Any]]) -> None:
    sender = opened(page, ADDRESS | ({"section": section} if section else {}))
    before = choices(sender)
    assert before.keys() <= options.keys(), "drawn without remember"
    wanted = {key: another(each, options[key]) for key, each in before.items() if not key.startswith(LEFT)}
    before = {key: each.value for key, each in before.items()}
    for key, value in wanted.items():
        sender.session_state[key] = value
    sender.run()
    assert not sender.exception
    seen = {key: each.value for key, each in choices(sender).items()}
    changed = {key for key in wanted if key in seen and seen[key] != before[key]}
    assert changed or not any(wanted[key] != before[key] for key in wanted)
    receiver = opened(page, dict(sender.query_params))
    assert {key: each.value for key, each in choices(receiver).items()} == seen


def test_every_page_is_in_the_menu_once() -> None:
    assert sorted(page for pages in GROUPS.values() for page in pages) == sorted(PAGES)
