"""What is handed to a colleague beside the files: the page's link, and the code that makes its figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import NamedTuple
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t
from densenet_core.checkpoints.zoo import ZOO_FOLDER

SAVE = "from analysis import save_figure"
_IMPORT_SPEC = "from densenet_core.networks.names import published_spec"


class Code(NamedTuple):
    """What makes a figure again: Python, and a command where there is one."""

    python: str
    command: str | None = None


def page_link() -> str:
    """Return the address that opens this page with the choices made on it."""
    query = urlencode(st.query_params.to_dict())
    return (st.context.url or "") + (f"?{query}" if query else "")


def show_handover(code: Code | None, key: str = "") -> None:
    """Draw a button that opens the link, the Python and the command, each with Streamlit's copy button."""
    label = t("handover.button") if code is not None else t("handover.link_only")
    with st.popover(label, icon=":material/link:", type="tertiary", key=f"handover_{key}"):
        st.markdown(f"**{t('handover.link')}**")
        st.code(page_link(), language=None, wrap_lines=True)
        if code is None:
            return
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
        _python("from analysis import feature_reuse_figure", _table(key, images, measure), figure, "feature_reuse"),
        _command("reuse", key, images, options, "--figure feature_reuse.pdf"),
    )


def agreement_code(key: NetworkKey, images: ImagesKey | None, first: str, second: str, kind: str | None) -> Code:
    """Return what compares two measures."""
    figure = f"agreement_figure(table, {first!r}, {second!r}, {kind!r})"
    lines = _table(key, images, first, second)
    imports = "from analysis.figures.agreement import agreement_figure"
    every = "" if kind == "dense_layer" else "--every-kind "
    options: dict[str, object] = {"first": first, "second": second}
    return Code(
        _python(imports, lines, figure, "agreement"),
        _command("agreement", key, images, options, f"{every}--figure agreement.pdf"),
    )


def claims_code(key: NetworkKey, images: ImagesKey | None) -> Code:
    """Return what tests the paper's claims."""
    given = "" if images is None else f", images, num_images={images.number}"
    lines = ["from analysis import check_claims", _import(key), *_images(images), ""]
    lines += [*_load_images(images), f"claims = check_claims({_load(key)}{given})"]
    lines.append('claims.to_csv("claims.csv", index=False)')
    return Code("\n".join(lines), _command("claims", key, images, {}, "--table claims.csv"))


def gradients_code(key: NetworkKey, images: ImagesKey, quantity: str | None) -> Code:
    """Return what draws the gradient by layer, or with no quantity by path length."""
    function = "paths_beside_controls" if quantity is None else "flow_beside_controls"
    draw = "path_shares_figure" if quantity is None else "gradient_flow_figure"
    imports = f"from analysis.claims.gradient_flow import {function}\nfrom analysis.figures.gradient_flow import {draw}"
    lines = [_import(key), *_images(images), "", *_load_images(images), f"table = {function}({_load(key)}, images)"]
    figure = f"{draw}(table)" if quantity is None else f"{draw}(table, {quantity!r})"
    return Code(_python(imports, lines, figure, "gradients"))


def pruning_code(key: NetworkKey, images: ImagesKey, orders: tuple[str, ...], budget: str, repair: str, x: str) -> Code:
    """Return what draws the pruning curves."""
    imports = (
        "from analysis import measure_reuse, pruning_curves\nfrom analysis.figures.pruning import pruning_figure\n"
        "from densenet_core.data.datasets import load_measuring_images"
    )
    place = f"{images.dataset!r}, {images.root!r}, {images.normalize!r}"
    lines = [_import(key), "", f"network = {_load(key)}", f"training, test = load_measuring_images({place})"]
    lines += [
        f"measured = measure_reuse(network, {orders!r}, training, {images.number})",
        f"table = pruning_curves(network, measured, {orders!r}, test, budget={budget!r}, num_images={images.number},",
        f"                       repair={repair!r}, training=training)",
    ]
    return Code(_python(imports, lines, f"pruning_figure(table, {x!r})", "pruning"))


def comparison_code(keys: Iterable[NetworkKey], size: int) -> Code:
    """Return what compares two networks' costs by stage."""
    named = [*keys]
    imports = "from analysis.architecture.comparison import compare_stages\n"
    imports += "from analysis.figures.stage_costs import stage_cost_figure"
    loaders = sorted({_import(key) if key.origin != "arch" else _IMPORT_SPEC for key in named})
    specs = [_spec(key) for key in named]
    lines = [*loaders, "", f'specs = {{"first": {specs[0]}, "second": {specs[1]}}}']
    lines.append(f"table = compare_stages(specs, {size})")
    is_named = all(key.origin != "pretrained" for key in named)
    command = " ".join(["densenet-lens compare", *(quote(_name(key)) for key in named), f"--input {size}"])
    return Code(_python(imports, lines, "stage_cost_figure(table)", "costs_by_stage"), command if is_named else None)


def efficiency_code(rows: pd.DataFrame, cost: str, log: bool) -> Code:
    """Return what draws these published results; results of the server's own runs are left out."""
    first, published = rows.iloc[0], rows[rows["origin"] == "published"]
    sources, families = (sorted(map(str, published[column].unique())) for column in ("source", "family"))
    lines = [
        "from analysis import published_results",
        "",
        "table = published_results()",
        f'table = table[(table["dataset"] == {first["dataset"]!r}) & (table["error_kind"] == {first["error_kind"]!r})]',
        f'table = table[table["source"].isin({sources})]',
        f'table = table[table["family"].isin({families})].dropna(subset=[{cost!r}])',
    ]
    imports = "from analysis.figures.efficiency import efficiency_figure"
    return Code(_python(imports, lines, f"efficiency_figure(table, costs=({cost!r},), log={log})", "efficiency"))


def curves_code(folders: Mapping[str, Path]) -> Code:
    """Return what draws the training curves of runs."""
    given = ", ".join(f"{name!r}: {str(folder)!r}" for name, folder in folders.items())
    imports = "from analysis.figures.training_curves import training_curves_figure\n"
    imports += "from analysis.results.training_curves import training_curves"
    return Code(
        _python(imports, ["", f"table = training_curves({{{given}}})"], "training_curves_figure(table)", "curves")
    )


def difference_code(keys: Sequence[NetworkKey]) -> Code:
    """Return what draws the difference of two networks' feature reuse."""
    imports = "from analysis.figures.difference import difference_figure\n"
    imports += "from analysis.reuse.comparison.difference import reuse_difference"
    lines = [*_tables(keys), "table = reuse_difference(*tables)"]
    code = _python(imports, lines, "difference_figure(table)", "reuse_difference")
    return Code(code, _networks_command(keys, "--figure reuse_difference.pdf"))


def seeds_code(keys: Sequence[NetworkKey]) -> Code:
    """Return what draws mean and standard deviation of the feature reuse of several seeds."""
    imports = "from analysis.figures.seeds import seeds_figure\n"
    imports += "from analysis.reuse.comparison.seeds import seed_statistics"
    lines = [*_tables(keys), "table = seed_statistics(tables)"]
    code = _python(imports, lines, "seeds_figure(table)", "reuse_seeds")
    return Code(code, _networks_command(keys, "--seeds --color-map viridis --figure reuse_seeds.pdf"))


def _tables(keys: Sequence[NetworkKey]) -> list[str]:
    """Lines that make the feature-reuse tables of several networks."""
    loaded = ", ".join(f"connection_weights({_load(key)})" for key in keys)
    return [
        "from analysis import connection_weights",
        *sorted({_import(key) for key in keys}),
        "",
        f"tables = [{loaded}]",
    ]


def _networks_command(keys: Sequence[NetworkKey], rest: str) -> str | None:
    """Return the command ``reuse`` for several networks; None where one is of pretrained or chosen weights."""
    if any(key.origin == "pretrained" or key.weights for key in keys):
        return None
    return " ".join(["densenet-lens reuse", *(quote(_name(key)) for key in keys), rest])


def _spec(key: NetworkKey) -> str:
    return f"published_spec({key.name!r})" if key.origin == "arch" else f"{_load(key)}.architecture"


def _python(imports: str, table: list[str], figure: str, name: str) -> str:
    """Python that makes ``table``, then a figure of it, and saves both."""
    return "\n".join([imports, SAVE, *table, f'save_figure({figure}, "{name}.pdf", table)'])


def _table(key: NetworkKey, images: ImagesKey | None, *measures: str) -> list[str]:
    """Lines that make the feature-reuse table."""
    if images is None:
        return [
            "from analysis import connection_weights",
            _import(key),
            "",
            f"table = connection_weights({_load(key)})",
        ]
    measure = f"table = measure_reuse({_load(key)}, {measures!r}, images, {images.number})"
    imports = ["from analysis import measure_reuse", _import(key), *_images(images)]
    return [*imports, "", *_load_images(images), measure]


def _images(images: ImagesKey | None) -> list[str]:
    return [] if images is None else ["from densenet_core.data.datasets import load_test_images"]


def _load_images(images: ImagesKey | None) -> list[str]:
    if images is None:
        return []
    return [f"images = load_test_images({images.dataset!r}, {images.root!r}, {images.normalize!r})"]


def _command(name: str, key: NetworkKey, images: ImagesKey | None, options: dict[str, object], rest: str) -> str | None:
    """Return the command line that does the same; None for pretrained weights, which it does not take."""
    if key.origin == "pretrained":
        return None
    if images is not None:
        options = options | {"dataset": images.dataset, "data": images.root, "images": images.number}
        options |= {"normalize": images.normalize} if images.dataset == "folder" and images.normalize else {}
    given = [f"--{option} {quote(str(value))}" for option, value in options.items()]
    given += [f"--weights {quote(key.weights)}"] if key.weights else []
    return " ".join(["densenet-lens", name, quote(_name(key)), *given, rest])


def _import(key: NetworkKey) -> str:
    return f"from densenet_core import {_loader(key)[0]}"


def _load(key: NetworkKey) -> str:
    function, arguments = _loader(key)
    return f"{function}({arguments})"


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
