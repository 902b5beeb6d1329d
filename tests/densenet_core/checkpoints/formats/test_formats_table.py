"""The table in the documentation is what the tests' files give."""

from __future__ import annotations

import pytest

from tests.densenet_core.checkpoints.formats.formats_table import markdown
from tools.make_formats_table import PAGE, with_table


@pytest.mark.slow
def test_the_table_of_the_documentation() -> None:
    page = PAGE.read_text()
    assert with_table(page, markdown()) == page, "run `python -m tools.make_formats_table`"
