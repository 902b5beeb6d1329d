"""The Claims page: what the paper says of DenseNets, checked on one network."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.dashboard import loading
from app.dashboard.caching import cached
from app.dashboard.data_picker import pick_images
from app.dashboard.downloads import download_row, take_home
from app.dashboard.keys import ImagesKey, NetworkKey, file_key
from app.dashboard.language import from_analysis, t
from app.dashboard.network_picker import pick_network
from app.dashboard.roots import listed_runs, served_folders
from app.text import literal

BADGES = {
    "holds": ("green", ":material/check:"),
    "does not hold": ("red", ":material/close:"),
    "not decidable": ("gray", ":material/help:"),
}


def show() -> None:
    """Draws the page."""
    st.subheader(t("claims.heading"), anchor=False)
    key = pick_network()
    if key is None:
        st.write(t("common.choose_network"))
        return
    images = pick_images(key)
    with st.sidebar:
        st.subheader(t("claims.beside"))
        none, runs = t("claims.none"), listed_runs(list(served_folders()))
        beside = st.selectbox(
            t("claims.resnet"),
            [None, *runs],
            format_func=lambda run: run.name if run else none,
            key="beside",
        )
    try:
        table = _claims(key, images, None if beside is None else file_key(beside))
    except ValueError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    counts = table["verdict"].value_counts()
    st.caption("  ·  ".join(f"**{counts.get(verdict, 0)}** {t(f'verdicts.{verdict}')}" for verdict in BADGES))
    for number, row in enumerate(table.itertuples(), start=1):
        with st.container(border=True, gap="xsmall"):
            _show_claim(number, row)
    with take_home():
        download_row("claims", table, None)
    st.caption(t("claims.note"))


@cached(32, spinner="claims")
def _claims(key: NetworkKey, images: ImagesKey | None, beside: NetworkKey | None) -> pd.DataFrame:
    """The paper's claims on this network."""
    from analysis.claims.claims import check_claims, claims_table

    other = None if beside is None else loading.load(beside)
    given = None if images is None else loading.load_images(images)
    return claims_table(check_claims(loading.load(key), given, other, 0 if images is None else images.number))


def _show_claim(number: int, row: object) -> None:
    claim = pd.Series(row._asdict())  # type: ignore[attr-defined]
    words, numbers = st.columns([3, 2], gap="medium", vertical_alignment="center")
    with words:
        color, icon = BADGES[claim["verdict"]]
        st.badge(t(f"verdicts.{claim['verdict']}"), icon=icon, color=color)  # type: ignore[arg-type]
        section = t("claims.section", section=from_analysis(claim["section"]))
        st.markdown(f"{number}. {literal(from_analysis(claim['claim']))}  \n:gray[{section}]")
    with numbers:
        st.caption(literal(from_analysis(claim["statistic"])))
        if pd.isna(claim["value"]):
            st.caption(f"*{literal(from_analysis(claim['reason']))}*")
            return
        a, b, c = st.columns(3)
        a.markdown(f"**{claim['value']:.3g}**  \n:gray[{t('claims.this')}]")
        b.markdown(
            f"{'–' if pd.isna(claim['null']) else format(claim['null'], '.3g')}  \n:gray[{t('claims.untrained')}]"
        )
        c.markdown(f"{from_analysis(claim['criterion'])}  \n:gray[{t('claims.to_hold')}]")
