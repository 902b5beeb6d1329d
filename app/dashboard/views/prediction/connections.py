"""The connections of a decision: what each adds to the logit, what it carries, and the strongest paths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from analysis.figures.prediction.decision import (
    decision_arcs_figure,
    decision_arcs_screen,
    decision_figure,
    decision_screen,
)
from analysis.prediction.decision import decision_connections
from analysis.prediction.feature_maps import Place, read_maps
from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.charts import show_chart
from app.dashboard.jobs.task import Task
from app.dashboard.jobs.work import PATHS_BEAM
from app.dashboard.keys import NetworkKey
from app.dashboard.language import names, t
from app.dashboard.memory import keep, recall, remember, write_address
from app.dashboard.views.prediction.code import EXPORT, drawn, image_code, names_code
from app.dashboard.views.prediction.images import ChosenImage, prepare_chosen
from app.dashboard.views.prediction.layer import grid_options, show_maps
from app.dashboard.widgets.cells import cell_text, parse_cell
from app.dashboard.widgets.downloads import download_row, download_table, take_home
from app.dashboard.widgets.long_work import result_of
from app.dashboard.widgets.scripts import joined
from app.dashboard.widgets.tables import show_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from app.dashboard.views.prediction.overview import Shown

CELL = "prediction_cell"  # the connection that is looked at
MEASURES = ("gradient_activation", "cut_effect")
READ = {"analysis.prediction.feature_maps": "Place, read_maps"}


def show_connections(shown: Shown) -> None:
    """Draw a block's connections as a heatmap and as arcs, what the chosen one carries, and the paths if asked for."""
    left, right = st.columns(2, gap="medium")
    with right:
        measure = _choose_measure()
    table = _table(shown, measure)
    if table is None:
        return
    blocks = sorted(int(block) for block in table["block"].unique())
    block: int = remember(
        left.segmented_control,
        t("prediction.block"),
        options=blocks,
        key="prediction_block",
        default=blocks[-1],
        required=True,
    )
    place = _chosen_place(table[table["block"] == block], measure)
    left, right = st.columns(2, gap="medium")
    with left:
        show_chart(
            decision_screen(table, measure, block, place),
            key="prediction_heatmap",
            alt=t("prediction.connections_alt"),
            on_select=_remember_click,
            selection_mode="points",
        )
        _download(shown, "decision_heatmap", table, decision_figure, measure)
    with right:
        figure = decision_arcs_screen(table, measure, block).update_layout(height=390)
        show_chart(figure, key="prediction_arcs", alt=t("prediction.arcs_alt"))
        _download(shown, "decision_arcs", table, decision_arcs_figure, measure)
    _show_read(shown, place)
    st.markdown(f"##### {t('prediction.paths')}")
    _show_paths(shown)


def _choose_measure() -> str:
    found: str = remember(
        st.segmented_control,
        t("prediction.connection_measure"),
        options=MEASURES,
        key="prediction_measure",
        default=MEASURES[0],
        format_func=names("prediction.measures", MEASURES),
        required=True,
    )
    return found


def _table(shown: Shown, measure: str) -> pd.DataFrame | None:
    """Return the connections with the measure; None until the job that cuts each of them is done."""
    found = shown.found
    if measure == "gradient_activation":
        return _by_gradient(shown.key, shown.chosen, found.for_class, found.against)
    task = Task("cuts", shown.key, (*_pack_image(shown), found.for_class, found.against))
    table: pd.DataFrame | None = result_of(task)
    return table


def _pack_image(shown: Shown) -> tuple[bytes, tuple[int, ...]]:
    """Return the image as a job's options hold it: its float32 values and its shape."""
    images = shown.found.seen.images.float().contiguous()
    return images.cpu().numpy().tobytes(), tuple(images.shape)


@cache(32, private_entries=8, spinner="measuring")
def _by_gradient(key: NetworkKey, chosen: ChosenImage, for_class: int, against: int | None) -> pd.DataFrame:
    return decision_connections(loading.load(key), prepare_chosen(key, chosen).images, for_class, against)


def _download(shown: Shown, name: str, table: pd.DataFrame, draw: Callable[..., Figure], measure: str) -> None:
    imports = {
        "analysis": "save_figure",
        "analysis.figures.prediction.decision": draw.__name__,
        "analysis.prediction.decision": "decision_connections",
    }
    given = f"{shown.found.for_class}, {shown.found.against}, cut={measure == 'cut_effect'}"
    lines = [
        f"table = decision_connections(network, seen.images, {given})",
        f'save_figure({draw.__name__}(table, {measure!r}), "{name}.pdf", table)',
    ]
    with take_home():
        make = partial(loading.figure_file, draw, name, table, measure)
        download_row(name, table, make, f"{name}_", image_code(shown, imports, lines))


def _chosen_place(rows: pd.DataFrame, measure: str) -> Place:
    """Return the connection that was clicked or that the address names; else the block's strongest one."""
    asked = str(recall(CELL, st.query_params.get(CELL, "")))
    found = parse_cell(asked, rows)
    write_address(CELL, None if found is None else asked)
    if found is not None:
        return Place(*found)
    strongest = rows.iloc[int(rows[measure].abs().argmax())]
    return Place(*(int(strongest[name]) for name in ("block", "source_layer", "target_layer")))


def _remember_click() -> None:
    points = st.session_state["prediction_heatmap"]["selection"]["points"]
    if points:
        block, source, target = (int(number) for number in points[0]["customdata"][:3])
        keep(CELL, cell_text((block, source, target)))


def _show_read(shown: Shown, place: Place) -> None:
    """Show what a connection carries."""
    read = read_maps(loading.load(shown.key), shown.found.seen.images, place)[0].cpu()
    st.markdown(f"##### {t('prediction.carries', source=place.source_layer, target=place.target_layer)}")
    if read.dim() == 1:
        _show_scores(shown, place, read)
    else:
        st.caption(t("prediction.reads_maps", number=len(read)))
        maps = shown.flat(read)
        more, values = drawn(shown, f"read_maps(network, seen.images, Place{tuple(place)})[0].cpu()")
        imports = {"analysis.figures.prediction.style": "grid", EXPORT: "save_picture"}
        options = "".join(f", {name}={value}" for name, value in grid_options(maps).items())
        lines = [f"maps = {values}", f'save_picture(grid(maps{options}), "read_maps.png", maps)']
        show_maps(maps, "read_maps", image_code(shown, joined(READ, imports, more), lines))


def _show_scores(shown: Shown, place: Place, read: Tensor) -> None:
    """Show what the classifier reads from a source: a part of each class's logit; the largest are shown."""
    st.caption(t("prediction.reads_scores"))
    table = pd.DataFrame({"class": shown.titles, "part": read.numpy()})
    titles = {"class": t("prediction.class"), "part": t("prediction.part")}
    show_rows(table.nlargest(5, "part", keep="all").rename(columns=titles))
    more, names = names_code(shown)
    imports = joined(more, {"pandas": "DataFrame", EXPORT: "save_table"})
    lines = [
        f"read = read_maps(network, seen.images, Place{tuple(place)})[0].cpu()",
        f'save_table(DataFrame({{"class": {names}, "part": read.numpy()}}), "read_scores.csv")',
    ]
    download_table("read_scores", table, "read_scores_", image_code(shown, joined(READ, imports), lines))


def _show_paths(shown: Shown) -> None:
    st.caption(t("prediction.paths_note"))
    paths: pd.DataFrame | None = result_of(Task("paths", shown.key, (*_pack_image(shown), shown.found.for_class)))
    if paths is None:
        return
    rows = [  # the path comes last: it is long, and a phone shows the left of a table
        {
            t("prediction.part"): round(float(row["part"]), 4),
            t("prediction.share"): f"{row['share']:.1%}",
            t("prediction.layers_on_path"): row["num_layers"],
            t("prediction.path"): row["path"],
        }
        for row in paths.to_dict("records")
    ]
    show_rows(rows)
    with take_home():
        imports = {"analysis.prediction.decision": "strongest_paths", EXPORT: "save_table"}
        line = f"strongest_paths(network, seen.images, {shown.found.for_class}, beam={PATHS_BEAM})"
        code = image_code(shown, imports, [f'save_table({line}, "strongest_paths.csv")'])
        download_row("strongest_paths", paths, None, "paths_", code)
