"""Sphinx's configuration: `make docs` builds the site into docs/_build without a warning."""

import sys
from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "DenseNet Lens"
author = "The DenseNet Lens authors"
version = release = installed_version("densenet-lens")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "DenseNet Lens"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
suppress_warnings = ["misc.highlighting_failure", "myst.xref_missing"]  # links to files beside docs/


def write_api_pages(folder: Path) -> None:
    """Write a page for each front door: all its public names, in the rooms they come from."""
    folder.mkdir(exist_ok=True)
    for name in ("analysis", "densenet_core"):
        package = import_module(name)
        lines = [f"# {name}", "", f"Everything on this page can be imported from `{name}`.", ""]
        public = [getattr(package, public_name) for public_name in package.__all__]
        rooms = sorted({room_of(item) for item in public})
        for room in rooms:
            lines += [f"## {room}", ""]
            for item in (item for item in public if room_of(item) == room):
                directive = "autoclass" if isinstance(item, type) else "autofunction"
                lines += ["```{eval-rst}", f".. {directive}:: {item.__module__}.{item.__qualname__}", "```", ""]
        (folder / f"{name}.md").write_text("\n".join(lines))


def room_of(item: object) -> str:
    """Return the room of a public name, such as analysis.reuse."""
    return ".".join(item.__module__.split(".")[:2])


write_api_pages(Path(__file__).parent / "api")
