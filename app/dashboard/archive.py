"""Everything that a page offers as one zip: figures, tables, code, and a README that describes them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from app.dashboard.language import column_labels
from app.text import suite_version

if TYPE_CHECKING:
    import numpy as np

    from app.dashboard.widgets.downloads import Item, Named

DATE = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes
CONVENTIONS = """
## Conventions

- A connection goes from a source to a target of the same dense block. `block` is 1-based. `source_layer` 0 is what
  enters the block, s is its s-th dense layer. `target_layer` 1 to n is a dense layer, n + 1 is what follows the block
  (`target_kind`: transition or classifier).
- Weights are those of the target's first convolution (or the classifier's matrix) that read the source's feature maps.
- Tables have raw values; figures scale them as their color bar says.
- One fused multiply-add is one `mult_add`; the paper's FLOPs are 2 x mult_adds. Errors are in percent, losses in
  nats, sizes in bytes.
- Figures are vector files (PDF, SVG) with fonts embedded, and PNG at 300 dpi. Pictures of maps, filters and images are
  PNG, and their values are arrays (.npy).
"""


def archive(items: Mapping[str, Item], page: str, link: str, named: Named | None = None) -> bytes:
    """Return the content of a zip file with every figure in every format, its table and its code, and a README.

    Args:
        items: what the page offers, by name.
        page: its title.
        link: its address.
        named: the network that the page is about.
    """
    from app.dashboard.widgets.downloads import describing

    items = dict(items)  # the page may be drawn again meanwhile
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, item in items.items():
            with describing(name, item.code, named):
                contents = {ending: content() for ending, content in item.files().items()}
            for ending, content in contents.items():
                _write(file, f"{name}.{ending}", content)
            _write(file, f"code/{name}.py", f"{item.code.python}\n".encode())
        _write(file, "README.md", _readme(items, page, link).encode())
    return buffer.getvalue()


def _write(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    file.writestr(zipfile.ZipInfo(name, DATE), content, zipfile.ZIP_DEFLATED)


def _readme(items: Mapping[str, Item], page: str, link: str) -> str:
    parts = [
        f"# DenseNet Lens: {page}",
        f"Made by DenseNet Lens {suite_version()}. The page as it was: {link}",
        "## Files",
    ]
    parts += [_about(name, item) for name, item in items.items()]
    return "\n\n".join(parts) + "\n" + CONVENTIONS


def _about(name: str, item: Item) -> str:
    lines = [f"### {name}", "", "Files: " + ", ".join(f"`{name}.{ending}`" for ending in item.files()) + "."]
    lines += ["", _contents(item.data)]
    lines += ["", f"Made again by `code/{name}.py`" + (":" if item.code.command else ".")]
    lines += ["", f"    {item.code.command}"] if item.code.command else []
    return "\n".join(lines)


def _contents(data: pd.DataFrame | np.ndarray) -> str:
    if not isinstance(data, pd.DataFrame):
        return f"Array of {data.dtype}, shape {data.shape}; read it with `numpy.load`."
    titles = column_labels(data.columns)
    return "Columns: " + ", ".join(_column(str(column), titles.get(column)) for column in data) + "."


def _column(name: str, title: str | None) -> str:
    return f"`{name}` ({title})" if title and title != name else f"`{name}`"
