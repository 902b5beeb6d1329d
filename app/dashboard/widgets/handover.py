"""Link and code of a page: the code makes its figure again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import NamedTuple
from urllib.parse import urlencode

import streamlit as st

from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t
from densenet_core.checkpoints.zoo import ZOO_FOLDER

SAVE = "from analysis import save_figure"


class Code(NamedTuple):
    """Code that makes a figure again: Python, and a command where there is one."""

    python: str
    command: str | None = None


def page_link() -> str:
    """Return the address that opens this page with the choices made on it."""
    query = urlencode([(key, value) for key in st.query_params for value in st.query_params.get_all(key)])
    return (st.context.url or "") + (f"?{query}" if query else "")


def show_handover(code: Code, key: str) -> None:
    """Draw a button that opens the link, the Python and the command, each with Streamlit's copy button."""
    with st.popover(t("handover.button"), icon=":material/link:", type="tertiary", key=f"handover_{key}"):
        st.markdown(f"**{t('handover.link')}**")
        st.code(page_link(), language=None, wrap_lines=True)
        show_code(code)


def show_code(code: Code) -> None:
    """Draw the Python, and the command where there is one."""
    st.markdown(f"**{t('handover.python')}**")
    st.code(code.python, language="python", wrap_lines=True)
    if code.command is not None:
        st.markdown(f"**{t('handover.command')}**")
        st.code(code.command, language="bash", wrap_lines=True)


def reuse_code(
    key: NetworkKey, images: ImagesKey | None, measure: str, scaling: str, colors: str, columns: int
) -> Code:
    """Return what draws the feature-reuse figure of a network and saves it with its table."""
    figure = f"feature_reuse_figure(table, {measure!r}, {scaling!r}, {colors!r}, {columns})"
    options: dict[str, object] = {"measure": measure, "scaling": scaling}
    options |= {"color-map": colors, "columns": columns}
    return Code(
        _python(
            "from analysis import feature_reuse_figure",
            _table(key, images, measure),
            figure,
            f"feature_reuse_{measure}",
        ),
        _command("reuse", key, images, options, f"--figure feature_reuse_{measure}.pdf"),
    )


def agreement_code(key: NetworkKey, images: ImagesKey | None, first: str, second: str, kind: str | None) -> Code:
    """Return what compares two measures."""
    figure = f"agreement_figure(table, {first!r}, {second!r}, {kind!r})"
    lines = _table(key, images, first, second)
    imports = "from analysis.figures.agreement import agreement_figure"
    every = "" if kind == "dense_layer" else "--every-kind "
    options: dict[str, object] = {"first": first, "second": second}
    return Code(
        _python(imports, lines, figure, f"agreement_{first}_{second}"),
        _command("agreement", key, images, options, f"{every}--figure agreement_{first}_{second}.pdf"),
    )


def reuse_table_code(
    key: NetworkKey, images: ImagesKey | None, measures: Sequence[str], imports: str, result: str, name: str
) -> Code:
    """Return what makes a table of the feature-reuse table.

    Args:
        measures: that the table has beside those of the weights.
        imports: a line that imports what the result needs, or nothing.
        result: an expression of ``table``, which is saved under the name.
    """
    lines = _table(key, images, *measures)
    first = "from analysis.figures.export import save_table"
    return Code("\n".join([first, *([imports] if imports else []), *lines, f'save_table({result}, "{name}.csv")']))


def claims_code(
    key: NetworkKey,
    images: ImagesKey | None,
    beside: Sequence[NetworkKey] = (),
    seeds: Sequence[NetworkKey] = (),
) -> Code:
    """Return what tests the paper's claims, with ResNets to compare with and further seeds of the network."""
    given = [] if images is None else ["images", f"num_images={images.number}"]
    imports = {"from analysis import check_claims", "from analysis.figures.export import save_table"}
    imports |= {*map(import_line, (key, *beside, *seeds)), *_images(images)}
    lines = _load_images(images)
    if images is not None and beside:
        imports.add("from analysis.claims.losses import training_images")
        lines.append(f"train = training_images({images.dataset!r}, {images.normalize!r}, {images.root!r})")
        given.append("train_images=train")
    for name, networks in (("beside", beside), ("seeds", seeds)):
        if networks:
            lines.append(f"{name} = [{', '.join(map(load_expression, networks))}]")
            given.append(f"{name}={name}")
    lines.append(f"claims = check_claims({', '.join([load_expression(key), *given])})")
    lines.append('save_table(claims, "claims.csv")')
    more = [f"--beside {quote(user_name(other))}" for other in beside]
    command = _command("claims", key, images, {}, " ".join([*more, "--table claims.csv"]), seeds)
    return Code("\n".join([*sorted(imports), "", *lines]), command)


def gradients_code(key: NetworkKey, images: ImagesKey, quantity: str | None) -> Code:
    """Return what draws the gradient by layer, or with no quantity by path length."""
    function = "paths_beside_controls" if quantity is None else "flow_beside_controls"
    draw = "path_shares_figure" if quantity is None else "gradient_flow_figure"
    imports = f"from analysis.claims.gradient_flow import {function}\nfrom analysis.figures.gradient_flow import {draw}"
    lines = [
        import_line(key),
        *_images(images),
        "",
        *_load_images(images),
        f"table = {function}({load_expression(key)}, images)",
    ]
    figure = f"{draw}(table)" if quantity is None else f"{draw}(table, {quantity!r})"
    return Code(_python(imports, lines, figure, "gradient_by_path_length" if quantity is None else "gradient_flow"))


def pruning_code(key: NetworkKey, images: ImagesKey, orders: tuple[str, ...], budget: str, repair: str, x: str) -> Code:
    """Return what draws the pruning curves."""
    imports = (
        "from analysis import measure_reuse, pruning_curves\nfrom analysis.figures.pruning import pruning_figure\n"
        "from densenet_core.data.datasets import load_measuring_images"
    )
    place = f"{images.dataset!r}, {images.root!r}, {images.normalize!r}"
    lines = [
        import_line(key),
        "",
        f"network = {load_expression(key)}",
        f"training, test = load_measuring_images({place})",
    ]
    lines += [
        f"measured = measure_reuse(network, {orders!r}, training, {images.number})",
        f"table = pruning_curves(network, measured, {orders!r}, test, budget={budget!r}, num_images={images.number},",
        f"                       repair={repair!r}, training=training)",
    ]
    return Code(_python(imports, lines, f"pruning_figure(table, {x!r})", "pruning"))


def _python(imports: str, table: list[str], figure: str, name: str) -> str:
    """Python that makes ``table``, then a figure of it, and saves both."""
    return "\n".join([imports, SAVE, *table, f'save_figure({figure}, "{name}.pdf", table)'])


def _table(key: NetworkKey, images: ImagesKey | None, *measures: str) -> list[str]:
    """Lines that make the feature-reuse table."""
    if images is None:
        return [
            "from analysis import connection_weights",
            import_line(key),
            "",
            f"table = connection_weights({load_expression(key)})",
        ]
    measure = f"table = measure_reuse({load_expression(key)}, {measures!r}, images, {images.number})"
    imports = ["from analysis import measure_reuse", import_line(key), *_images(images)]
    return [*imports, "", *_load_images(images), measure]


def _images(images: ImagesKey | None) -> list[str]:
    return [] if images is None else ["from densenet_core.data.datasets import load_test_images"]


def _load_images(images: ImagesKey | None) -> list[str]:
    if images is None:
        return []
    return [f"images = load_test_images({images.dataset!r}, {images.root!r}, {images.normalize!r})"]


def _command(
    name: str,
    key: NetworkKey,
    images: ImagesKey | None,
    options: dict[str, object],
    rest: str,
    more: Sequence[NetworkKey] = (),
) -> str | None:
    """Return the command line that does the same with one or more networks; None for pretrained weights."""
    if key.origin == "pretrained":
        return None
    if images is not None:
        options = options | {"dataset": images.dataset, "data": images.root, "images": images.number}
        options |= {"normalize": images.normalize} if images.dataset == "folder" and images.normalize else {}
    given = [f"--{option} {quote(str(value))}" for option, value in options.items()]
    given += [f"--{option} {quote(value)}" for option, value in key.reading.items()]
    return " ".join(["densenet-lens", name, *(quote(user_name(own)) for own in (key, *more)), *given, rest])


def import_line(key: NetworkKey) -> str:
    """Return the Python line that imports what loads a network."""
    return f"from densenet_core import {_loader(key)[0]}"


def load_expression(key: NetworkKey) -> str:
    """Return the Python expression that loads a network."""
    function, arguments = _loader(key)
    return f"{function}({arguments})"


def _loader(key: NetworkKey) -> tuple[str, str]:
    """Return the function that loads a network, and its arguments."""
    function = "load_zoo" if _is_zoo(key) else "load_pretrained" if key.origin == "pretrained" else "load_checkpoint"
    return function, ", ".join([repr(user_name(key)), *(f"{name}={value!r}" for name, value in key.reading.items())])


def user_name(key: NetworkKey) -> str:
    """Return what a user calls the network: a path, or the name of an upload or of a network."""
    if key.origin == "upload":
        return str(st.session_state.get("upload_names", {}).get(key.name, key.name))
    return Path(key.name).stem if _is_zoo(key) else key.name


def _is_zoo(key: NetworkKey) -> bool:
    return key.origin == "file" and Path(key.name).parent == ZOO_FOLDER
