"""What is handed to a colleague beside the files: the page's link, and the code that makes its figure."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from urllib.parse import urlencode

import streamlit as st

from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t
from densenet_core.checkpoints.zoo import ZOO_FOLDER


def page_link() -> str:
    """The address that opens this page with the choices made on it."""
    query = urlencode(st.query_params.to_dict())
    return (st.context.url or "") + (f"?{query}" if query else "")


def show_handover(python: str, command: str | None) -> None:
    """A button that opens the link, the Python and the command, each with Streamlit's copy button."""
    with st.popover(t("handover.button"), icon=":material/link:"):
        st.markdown(f"**{t('handover.link')}**")
        st.code(page_link(), language=None, wrap_lines=True)
        st.markdown(f"**{t('handover.python')}**")
        st.code(python, language="python", wrap_lines=True)
        if command is not None:
            st.markdown(f"**{t('handover.command')}**")
            st.code(command, language="bash", wrap_lines=True)


def reuse_python(
    key: NetworkKey, images: ImagesKey | None, measure: str, scaling: str, colors: str, columns: int
) -> str:
    """Python that draws the feature-reuse figure of a network and saves it with its table."""
    function, argument = _loader(key)
    lines = ["from analysis import feature_reuse_figure, save_figure"]
    if images is None:
        lines[0] = "from analysis import connection_weights, feature_reuse_figure, save_figure"
        table = [f"table = connection_weights({function}({argument}))"]
    else:
        lines += [
            "from analysis.reuse.measuring import measure_reuse",
            "from densenet_core.data.datasets import load_test_images",
        ]
        table = [
            f"images = load_test_images({images.dataset!r}, {images.root!r}, {images.normalize!r})",
            f"table = measure_reuse({function}({argument}), ({measure!r},), images, {images.number})",
        ]
    figure = f"feature_reuse_figure(table, {measure!r}, {scaling!r}, {colors!r}, {columns})"
    save = f'save_figure({figure}, "feature_reuse.pdf", table)'
    return "\n".join([*lines, f"from densenet_core import {function}", "", *table, save])


def reuse_command(
    key: NetworkKey, images: ImagesKey | None, measure: str, scaling: str, colors: str, columns: int
) -> str | None:
    """The command line that does the same; None for pretrained weights, which it does not take."""
    if key.origin == "pretrained":
        return None
    options = {"measure": measure, "scaling": scaling, "color-map": colors, "columns": columns}
    if images is not None:
        options |= {"dataset": images.dataset, "data": images.root, "images": images.number}
        options |= {"normalize": images.normalize} if images.dataset == "folder" and images.normalize else {}
    given = " ".join(f"--{name} {quote(str(value))}" for name, value in options.items())
    given += f" --weights {quote(key.weights)}" if key.weights else ""
    return f"densenet-lens reuse {quote(_name(key))} {given} --figure feature_reuse.pdf"


def _loader(key: NetworkKey) -> tuple[str, str]:
    """Return the function that loads a network, and its arguments."""
    function = "load_zoo" if _is_zoo(key) else "load_pretrained" if key.origin == "pretrained" else "load_checkpoint"
    return function, repr(_name(key)) + (f", weights={key.weights!r}" if key.weights else "")


def _name(key: NetworkKey) -> str:
    """Return what a user calls the network: a path, or the name of an upload or of a network."""
    if key.origin == "upload":
        return str(st.session_state.get("upload_names", {}).get(key.name, key.name))
    return Path(key.name).stem if _is_zoo(key) else key.name


def _is_zoo(key: NetworkKey) -> bool:
    return key.origin == "file" and Path(key.name).parent == ZOO_FOLDER
