"""Make the table of docs/checkpoints.md again from the files of the tests: `python -m tools.make_formats_table`."""

from __future__ import annotations

from pathlib import Path

from tests.densenet_core.checkpoints.formats.formats_table import markdown

PAGE = Path(__file__).parents[1] / "docs" / "checkpoints.md"
BEGIN, END = "<!-- formats: made by tools/make_formats_table.py -->\n", "\n<!-- end -->"


def with_table(page: str, table: str) -> str:
    """Return the page with the table between its marks."""
    head, rest = page.split(BEGIN, 1)
    return f"{head}{BEGIN}{table}{END}{rest.split(END, 1)[1]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(), markdown()))
