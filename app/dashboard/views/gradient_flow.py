"""The Gradient-flow page: how strong the gradient is that reaches each layer, and how far layers are from the loss."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from analysis.architecture.paths import layer_paths, path_counts
from analysis.claims.gradient_flow import controls, gradient_ratios
from analysis.figures.gradient_flow import (
    QUANTITIES,
    gradient_flow_figure,
    gradient_flow_screen,
    network_title,
    path_lengths_screen,
    path_shares_figure,
    path_shares_screen,
)
from analysis.reuse.connections import dense_spec
from app.dashboard import loading
from app.dashboard.caching import cache
from app.dashboard.charts import show_chart
from app.dashboard.jobs.task import Task
from app.dashboard.keys import ImagesKey, NetworkKey
from app.dashboard.language import t, titles, translated
from app.dashboard.memory import remember
from app.dashboard.widgets.data_picker import pick_images
from app.dashboard.widgets.downloads import download_row, download_small, take_home
from app.dashboard.widgets.handover import Code, gradients_code
from app.dashboard.widgets.long_work import result_of
from app.dashboard.widgets.network_picker import open_page
from app.dashboard.widgets.scripts import SCREEN, TABLE, Imports, joined, script
from app.dashboard.widgets.tables import show_rows
from app.text import literal
from densenet_core.networks.spec import Spec


def show() -> None:
    """Draw the page."""
    key = open_page(t("gradients.heading"))
    if key is None:
        return
    spec = dense_spec(loading.load(key))
    images = pick_images(key)
    if images is not None:
        _show_flow(key, images)
    _show_paths(key, {spec.title: spec, **controls(spec)})
    if images is not None:
        _show_shares(key, images)


NUM_IMAGES = 64  # of the gradient
NUM_FOR_PATHS = 4
PASSES = 12  # four networks, forward and backward


def _gradient_flows(key: NetworkKey, images: ImagesKey) -> pd.DataFrame | None:
    """Return the flow of the network, of its untrained architecture and of its controls; None until measured."""
    if loading.takes_long(key, images._replace(number=NUM_IMAGES), PASSES):
        found: pd.DataFrame | None = result_of(Task("gradients", key, (images,)), t("jobs.images", number=NUM_IMAGES))
        return found
    return _gradient_flows_at_once(key, images)


@cache(16, spinner="gradients")
def _gradient_flows_at_once(key: NetworkKey, images: ImagesKey) -> pd.DataFrame:
    from analysis.claims.gradient_flow import flow_beside_controls

    return flow_beside_controls(loading.load(key), loading.load_images(images))


def _show_flow(key: NetworkKey, images: ImagesKey) -> None:
    flow = _gradient_flows(key, images)
    if flow is None:
        return
    chosen = remember(
        st.segmented_control,
        t("gradients.quantity"),
        options=QUANTITIES,
        key="flow_quantity",
        default="output_gradient",
        format_func=titles(QUANTITIES),
        required=True,
    )
    show_chart(gradient_flow_screen(flow, chosen), key="flow", alt=t("gradients.alt"), can_zoom=True)
    with take_home():
        draw = partial(loading.figure_file, gradient_flow_figure, "gradient_flow", flow, chosen, 1)
        download_row("gradient_flow", flow, draw, "", gradients_code(key, images, chosen))
    ratios = "  ·  ".join(
        f"{literal(translated(network_title(name)))}: **{ratio:.3g}**" for name, ratio in gradient_ratios(flow).items()
    )
    st.caption(t("gradients.ratios", ratios=ratios))
    st.caption(t("gradients.note"))


def _show_shares(key: NetworkKey, images: ImagesKey) -> None:
    st.markdown(f"##### {t('gradients.shares')}")
    st.caption(t("gradients.shares_note"))
    shares = result_of(Task("path_shares", key, (images,)), t("jobs.images", number=NUM_FOR_PATHS))
    if shares is None:
        return
    show_chart(path_shares_screen(shares), key="shares", alt=t("gradients.shares_alt"), can_zoom=True)
    with take_home():
        draw = partial(loading.figure_file, path_shares_figure, "gradient_by_path_length", shares, 1)
        download_row("gradient_by_path_length", shares, draw, "shares_", gradients_code(key, images, None))


def _show_paths(key: NetworkKey, specs: dict[str, Spec]) -> None:
    st.markdown(f"##### {t('gradients.paths')}")
    counts = {title: path_counts(spec) for title, spec in specs.items()}
    left, right = st.columns(2, gap="medium")
    with left:
        _show_lengths(key, counts)
    with right:
        _show_layers(key, specs, {title: sum(own["num_paths"]) for title, own in counts.items()})


def _show_lengths(key: NetworkKey, counts: dict[str, pd.DataFrame]) -> None:
    """Draw the number of paths by their length."""
    figure = path_lengths_screen(counts)
    show_chart(figure, key="paths", alt=t("gradients.paths_alt"), can_zoom=True)
    lengths = pd.concat([own.assign(network=title) for title, own in counts.items()], ignore_index=True)
    imports = {"analysis.architecture.paths": "path_counts"}
    imports |= {"analysis.figures.gradient_flow": "path_lengths_screen"}
    lines = [
        "counts = {title: path_counts(own) for title, own in specs.items()}",
        "table = concat([own.assign(network=title) for title, own in counts.items()], ignore_index=True)",
        'save_figure(paper_figure(path_lengths_screen(counts)), "path_lengths.pdf", table)',
    ]
    download_small("path_lengths", lengths, figure, "paths_", _specs_code(key, joined(SCREEN, imports), lines))


def _show_layers(key: NetworkKey, specs: dict[str, Spec], num_paths: dict[str, int]) -> None:
    """Show how far the layers of each network are from the loss."""
    layers = {title: layer_paths(spec) for title, spec in specs.items()}
    show_rows([_path_facts(title, own, num_paths[title]) for title, own in layers.items()])
    st.caption(t("gradients.paths_note"))
    with take_home():
        table = "concat([layer_paths(own).assign(network=title) for title, own in specs.items()])"
        imports = joined(TABLE, {"analysis.architecture.paths": "layer_paths"})
        code = _specs_code(key, imports, [f'save_table({table}, "layers_to_the_loss.csv")'])
        rows = pd.concat([own.assign(network=title) for title, own in layers.items()])
        download_row("layers_to_the_loss", rows, None, "layer_paths_", code)


def _path_facts(title: str, layers: pd.DataFrame, num_paths: int) -> dict[str, object]:
    return {
        t("columns.network"): title,
        t("columns.paths"): f"{num_paths:,}" if num_paths < 10**9 else f"{float(num_paths):.2e}",
        t("columns.to_loss"): round(float(layers["shortest"].mean()), 1),
        t("columns.read"): t("common.of", part=int(layers["is_direct"].sum()), whole=len(layers)),
    }


def _specs_code(key: NetworkKey, imports: Imports, lines: list[str]) -> Code:
    """Return code about the network and its controls, which it opens as ``specs``."""
    more = {"analysis.claims.gradient_flow": "controls", "pandas": "concat"}
    opening = ["spec = network.architecture", "specs = {spec.title: spec, **controls(spec)}"]
    return script(key, joined(imports, more), [*opening, *lines])
