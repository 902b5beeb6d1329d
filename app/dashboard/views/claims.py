"""The Claims page: the paper's claims about DenseNets, tested on one network."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.jobs.task import Task
from app.dashboard.keys import ImagesKey, NetworkKey, file_key
from app.dashboard.language import t, translated
from app.dashboard.memory import remember_several
from app.dashboard.refusals import show_error
from app.dashboard.roots import distinct_names, trained_networks
from app.dashboard.widgets.claim_cards import (
    BADGES,
    badge_text,
    numbers,
    show_badge,
    statement,
    statistic,
    verdict_words,
)
from app.dashboard.widgets.data_picker import pick_images
from app.dashboard.widgets.downloads import download_row, take_home
from app.dashboard.widgets.handover import claims_code
from app.dashboard.widgets.long_work import amount, result_of
from app.dashboard.widgets.network_picker import open_page
from app.text import literal


def show() -> None:
    """Draw the page."""
    key = open_page(t("claims.heading"))
    if key is None:
        return
    images = pick_images(key)
    beside, seeds = _choose_runs()
    try:
        table = _table(key, images, beside, seeds)
    except ValueError as error:
        show_error(error)
        return
    _show_counts(table["verdict"])
    st.caption(t("claims.open"))
    with st.container(gap="xsmall"):
        for number, claim in enumerate(table.itertuples(), start=1):
            title = f"{number}\\. {statement(claim)}  {badge_text(str(claim.verdict))}"
            with st.expander(title, key=f"claim_{number}"):
                _show_claim(claim)
    with take_home():
        download_row("claims", table, None, "", claims_code(key, images, beside, seeds))
    st.caption(t("claims.note"))


def _show_counts(verdicts: pd.Series) -> None:
    """Show how many claims have each verdict."""
    counts = verdicts.value_counts()
    with st.container(horizontal=True, gap="small"):
        for verdict in BADGES:
            if verdict in counts:
                show_badge(verdict, f"{counts[verdict]} {verdict_words(verdict)}")


def _choose_runs() -> tuple[tuple[NetworkKey, ...], tuple[NetworkKey, ...]]:
    """Choose ResNets on the same data, and more seeds of the network, to compare how much they overfit."""
    networks = trained_networks()
    titles = distinct_names(networks)
    with st.sidebar:
        st.subheader(t("claims.beside"))
        resnets, seeds = (
            remember_several(
                st.multiselect,
                t(f"claims.{key}"),
                options=networks,
                key=key,
                format_func=titles.__getitem__,
                placeholder=t("claims.none"),
                help=t(f"claims.{key}_help"),
            )
            for key in ("resnets", "more_seeds")
        )
    return tuple(map(file_key, resnets)), tuple(map(file_key, seeds))


def _table(
    key: NetworkKey, images: ImagesKey | None, beside: tuple[NetworkKey, ...], seeds: tuple[NetworkKey, ...]
) -> pd.DataFrame:
    """Return the claims tested on images, once that job is done; until then those that need no images."""
    if images is not None:
        found: pd.DataFrame | None = result_of(Task("claims", key, (images, beside, seeds)), amount(images))
        if found is not None:
            return found
    return _without_images(key, beside, seeds)


@cache(32, spinner="claims")
def _without_images(key: NetworkKey, beside: tuple[NetworkKey, ...], seeds: tuple[NetworkKey, ...]) -> pd.DataFrame:
    from analysis.claims.claims import check_claims

    networks, others = ([loading.load(own) for own in side] for side in (beside, seeds))
    return check_claims(loading.load(key), beside=networks, seeds=others)


def _show_claim(claim: Any) -> None:
    """Show what a claim's verdict rests on."""
    st.markdown(f"{statistic(claim)}: {numbers(claim)}")
    if claim.reason and not pd.isna(claim.value):
        st.caption(literal(translated(claim.reason)))
    st.caption(t("claims.section", section=translated(claim.section)))
