"""The paper's tables: architectures, data sets, recipes."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from analysis.figures.diagrams.notes import learning_rate_screen
from analysis.figures.style.words import stage_title
from analysis.results.data_sets import data_sets, learning_rates, recipes
from analysis.results.tables import TABLE_1_NETWORKS, architecture_table, latex_table
from app.dashboard.charts import show_chart
from app.dashboard.language import column_title, t, translated
from app.dashboard.memory import remember, remember_several
from app.dashboard.refusals import show_error
from app.dashboard.views.notes.blocks import DENSENETS
from app.dashboard.views.notes.connectivity import TEXT_WIDTH
from app.dashboard.widgets.downloads import download_row, download_small, take_home
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.scripts import SCREEN, TABLE, joined, plain_script
from app.dashboard.widgets.tables import show_rows, show_table
from densenet_core.networks.names import published_spec
from densenet_core.training.config import RECIPES

MODULE = "analysis.results.data_sets"  # in the code that is offered
SHORT_COLUMNS = ("dataset", "train", "test", "classes")  # of the data sets, on a phone
TYPED_EXAMPLE = "densenet-bc-40-12"


def show_table_1() -> None:
    st.markdown(t("notes.table_1.text", example=TYPED_EXAMPLE), width=TEXT_WIDTH)
    names = remember_several(
        st.multiselect,
        t("notes.table_1.networks"),
        options=DENSENETS,
        key="notes_table_1",
        placeholder=t("common.choose_several"),
        default=[f"densenet{variant}" for variant in TABLE_1_NETWORKS],
        accept_new_options=True,
    )
    if not names:
        st.info(t("notes.table_1.none"))
        return
    try:
        table = architecture_table({name: published_spec(name) for name in names})
    except ValueError as error:
        show_error(error)
        return
    with st.container(key="off_phone_table_1"):
        show_table(table, height="content")
    with st.container(key="on_phone_table_1"):  # one of the two is seen, by the width of the screen
        _show_one_network(table, names)
    with take_home():
        code = _table_1_code(names)
        download_row("table_1", table, lambda _: latex_table(table).encode(), "table_1_", code, formats=("tex",))


def _show_one_network(table: pd.DataFrame, names: list[str]) -> None:
    """Draw what a phone has room for: the operations of one of the networks."""
    name = names[0]
    if len(names) > 1:
        label = t("picker.network")
        name = remember(st.selectbox, label, options=names, key="notes_table_1_network", default=names[0])
    own, title = table[table[name] != ""], column_title(t("columns.Layers"))
    layers = [translated(stage_title(layer)) for layer in own["Layers"]]
    st.table(pd.DataFrame({title: layers, name: own[name]}).set_index(title))  # whose lines wrap


def _table_1_code(names: list[str]) -> Code:
    imports = {
        "analysis.results.tables": "architecture_table, latex_table",
        "densenet_core.networks.names": "published_spec",
        "pathlib": "Path",
    }
    lines = [
        f"table = architecture_table({{name: published_spec(name) for name in {names}}})",
        'save_table(table, "table_1.csv")',
        'Path("table_1.tex").write_text(latex_table(table), encoding="utf-8")',
    ]
    return plain_script(joined(TABLE, imports), lines)


def show_training() -> None:
    st.markdown(t("notes.training.text"), width=TEXT_WIDTH)
    rows = _data_rows(data_sets())
    with st.container(key="off_phone_data_sets"):
        show_rows(rows)
    with st.container(key="on_phone_data_sets"):  # one of the two is seen, by the width of the screen
        show_rows(rows[[t(f"notes.training.{column}") for column in SHORT_COLUMNS]])
    with take_home():
        code = plain_script(joined(TABLE, {MODULE: "data_sets"}), ['save_table(data_sets(), "data_sets.csv")'])
        download_row("data_sets", data_sets(), None, "notes_data_sets_", code)
    name = remember(
        st.segmented_control,
        t("notes.training.recipe"),
        options=RECIPES,
        key="notes_recipe",
        default=next(iter(RECIPES)),
        required=True,
    )
    table = recipes().set_index("recipe")
    facts = table.T[name]
    left, right = st.columns([1, 1], gap="medium")
    with left:
        st.table(_recipe_facts(facts), hide_header=True)
        with take_home():
            code = plain_script(joined(TABLE, {MODULE: "recipes"}), ['save_table(recipes(), "recipes.csv")'])
            download_row("recipes", recipes(), None, "notes_recipes_", code)
    with right:
        _show_learning_rate(name)
    how = {"momentum": facts["momentum"], "factor": 1 / (1 - facts["momentum"]), "dropout": table["drop_rate"].max()}
    st.markdown(t("notes.training.momentum_text", **how), width=TEXT_WIDTH)


def _show_learning_rate(recipe: str) -> None:
    rates = learning_rates(recipe)
    figure = learning_rate_screen(rates)
    show_chart(figure, "notes_rates", t("notes.training.rate"))
    imports = {MODULE: "learning_rates", "analysis.figures.diagrams.notes": "learning_rate_screen"}
    lines = [
        f"table = learning_rates({recipe!r})",
        'save_figure(paper_figure(learning_rate_screen(table)), "learning_rate.pdf", table)',
    ]
    code = plain_script(joined(SCREEN, imports), lines)
    download_small("learning_rate", rates, figure, "notes_rates_", code)


def _data_rows(table: pd.DataFrame) -> pd.DataFrame:
    rows = pd.DataFrame({t("notes.training.dataset"): table["title"]})
    for column in ("train", "extra", "validation", "test", "classes"):
        rows[t(f"notes.training.{column}")] = [f"{number:,}" if number else "–" for number in table[column]]
    rows[t("notes.training.origin")] = [t(f"notes.training.{origin}") for origin in table["origin"]]
    rows[t("notes.training.side")] = table["image_size"]
    rows[t("notes.training.augmentation")] = [_augmentation(row) for row in table.to_dict("records")]
    rows[t("notes.training.mean")], rows[t("notes.training.std")] = table["mean"], table["std"]
    return rows


def _augmentation(row: dict[Any, Any]) -> str:
    words = []
    if row["mirror"]:
        words.append(t("notes.training.mirror"))
    if pd.notna(row["shift"]):
        words.append(t("notes.training.shift", pixels=row["shift"]))
    elif row["mirror"]:
        words.append(t("notes.training.crop"))
    return ", ".join(words) or "–"


def _recipe_facts(row: pd.Series) -> pd.DataFrame:
    drops = row["milestones"] if row["schedule"] == "step" else t("notes.training.one_cycle")
    facts = {
        "source": t("notes.training.paper" if row["published"] else "notes.training.suite"),
        "epochs": row["epochs"],
        "batch": row["batch_size"],
        "rate": row["learning_rate"],
        "milestones": drops,
        "momentum": row["momentum"],
        "decay": row["weight_decay"],
        "smoothing": row["label_smoothing"],
        "dropout": row["drop_rate"],
    }
    labels = {t(f"notes.training.{key}"): str(value) for key, value in facts.items()}
    return pd.DataFrame({"": labels})
