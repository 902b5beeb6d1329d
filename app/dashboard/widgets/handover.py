"""Link and code of a page: the code makes its figure again."""

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
_DIFFERENCE = """from analysis.figures.difference import difference_figure
from analysis.reuse.comparison.difference import reuse_difference"""
_IMPORT_SPEC = "from densenet_core.networks.names import published_spec"


class Code(NamedTuple):
    """Code that makes a figure again: Python, and a command where there is one."""

    python: str
    command: str | None = None


def page_link() -> str:
    """Return the address that opens this page with the choices made on it."""
    query = urlencode([(key, value) for key in st.query_params for value in st.query_params.get_all(key)])
    return (st.context.url or "") + (f"?{query}" if query else "")


def show_handover(code: Code | None, key: str = "") -> None:
    """Draw a button that opens the link, the Python and the command, each with Streamlit's copy button."""
    label = t("handover.button") if code is not None else t("handover.link_only")
    with st.popover(label, icon=":material/link:", type="tertiary", key=f"handover_{key}"):
        st.markdown(f"**{t('handover.link')}**")
        st.code(page_link(), language=None, wrap_lines=True)
        show_code(code)


def show_code(code: Code | None) -> None:
    """Draw the Python and the command, where there are any."""
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


def claims_code(
    key: NetworkKey,
    images: ImagesKey | None,
    beside: Sequence[NetworkKey] = (),
    seeds: Sequence[NetworkKey] = (),
) -> Code:
    """Return what tests the paper's claims, with ResNets to compare with and further seeds of the network."""
    given = [] if images is None else ["images", f"num_images={images.number}"]
    imports = {"from analysis import check_claims", *map(import_line, (key, *beside, *seeds)), *_images(images)}
    lines = _load_images(images)
    if images is not None and beside:
        imports.add("from analysis.claims.generalization import training_images")
        lines.append(f"train = training_images({images.dataset!r}, {images.normalize!r}, {images.root!r})")
        given.append("train_images=train")
    for name, networks in (("beside", beside), ("seeds", seeds)):
        if networks:
            lines.append(f"{name} = [{', '.join(map(load_expression, networks))}]")
            given.append(f"{name}={name}")
    lines.append(f"claims = check_claims({', '.join([load_expression(key), *given])})")
    lines.append('claims.to_csv("claims.csv", index=False)')
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
    return Code(_python(imports, lines, figure, "gradients"))


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


def comparison_code(keys: Iterable[NetworkKey], size: int) -> Code:
    """Return what compares two networks' costs by stage."""
    named = [*keys]
    imports = "from analysis.architecture.comparison import compare_stages\n"
    imports += "from analysis.figures.stage_costs import stage_cost_figure"
    loaders = sorted({import_line(key) if key.origin != "arch" else _IMPORT_SPEC for key in named})
    specs = [_spec(key) for key in named]
    lines = [*loaders, "", f'specs = {{"first": {specs[0]}, "second": {specs[1]}}}']
    lines.append(f"table = compare_stages(specs, {size})")
    is_named = all(key.origin != "pretrained" for key in named)
    command = " ".join(["densenet-lens compare", *(quote(user_name(key)) for key in named), f"--input {size}"])
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
    code = _python(_DIFFERENCE, _difference_table(keys), "difference_figure(table)", "reuse_difference")
    return Code(code, _networks_command(keys, "--figure reuse_difference.pdf"))


def two_networks_code(keys: Sequence[NetworkKey], names: tuple[str, str]) -> Code:
    """Return what draws two networks' feature reuse on one scale."""
    imports = _DIFFERENCE.replace("difference_figure", "two_networks_figure")
    return Code(_python(imports, _difference_table(keys), f"two_networks_figure(table, {names})", "reuse_of_both"))


def _difference_table(keys: Sequence[NetworkKey]) -> list[str]:
    return [*_tables(keys), "table = reuse_difference(*tables)"]


def seeds_code(keys: Sequence[NetworkKey]) -> Code:
    """Return what draws mean and standard deviation of the feature reuse of several seeds."""
    imports = "from analysis.figures.seeds import seeds_figure\n"
    imports += "from analysis.reuse.comparison.seeds import seed_statistics"
    lines = [*_tables(keys), "table = seed_statistics(tables)"]
    code = _python(imports, lines, "seeds_figure(table)", "reuse_seeds")
    return Code(code, _networks_command(keys, "--seeds --color-map viridis --figure reuse_seeds.pdf"))


def _tables(keys: Sequence[NetworkKey]) -> list[str]:
    """Lines that make the feature-reuse tables of several networks."""
    loaded = ", ".join(f"connection_weights({load_expression(key)})" for key in keys)
    return [
        "from analysis import connection_weights",
        *sorted({import_line(key) for key in keys}),
        "",
        f"tables = [{loaded}]",
    ]


def _networks_command(keys: Sequence[NetworkKey], rest: str) -> str | None:
    """Return the command ``reuse`` for several networks; None where one is of pretrained or chosen weights."""
    if any(key.origin == "pretrained" or key.weights for key in keys):
        return None
    return " ".join(["densenet-lens reuse", *(quote(user_name(key)) for key in keys), rest])


def _spec(key: NetworkKey) -> str:
    return f"published_spec({key.name!r})" if key.origin == "arch" else f"{load_expression(key)}.architecture"


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
    given += [f"--weights {quote(key.weights)}"] if key.weights else []
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
    return function, repr(user_name(key)) + (f", weights={key.weights!r}" if key.weights else "")


def user_name(key: NetworkKey) -> str:
    """Return what a user calls the network: a path, or the name of an upload or of a network."""
    if key.origin == "upload":
        return str(st.session_state.get("upload_names", {}).get(key.name, key.name))
    return Path(key.name).stem if _is_zoo(key) else key.name


def _is_zoo(key: NetworkKey) -> bool:
    return key.origin == "file" and Path(key.name).parent == ZOO_FOLDER
