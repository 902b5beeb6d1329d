"""One layer: its map over the image, Grad-CAM at any layer, its feature maps, and the filters of the first layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis.figures.prediction.style import MAX_TILES, filter_grid, grid, overlay
from analysis.prediction.maps import grad_cam, layer_names
from app.dashboard.caching import cache
from app.dashboard.keys import NetworkKey
from app.dashboard.language import t
from app.dashboard.memory import remember
from app.dashboard.views.prediction.images import ChosenImage, open_predictor, prepare_chosen
from app.dashboard.views.prediction.overview import SOURCE, STRONGEST, chosen_source

if TYPE_CHECKING:
    from torch import Tensor

    from app.dashboard.views.prediction.overview import Shown

MAP_SIDE = 336  # pixels of a map over the image
COLUMNS = ((12, 6), (32, 8), (72, 12), (10**6, 16))  # of a grid of at most so many maps
WIDTH = 1024  # pixels of a grid


def show_layer(shown: Shown) -> None:
    """Draw the maps of the chosen source layer, and the filters of the first convolution once they are opened."""
    left, _, right = st.columns(3, gap="medium")
    with left:
        _choose_source(shown)
    with right:
        layers = layer_names(open_predictor(shown.key))
        layer = st.selectbox(t("prediction.grad_cam"), layers, index=len(layers) // 2, key="prediction_layer")
    source = chosen_source(shown)
    maps = shown.found.maps
    pictures = {
        t("prediction.own_map", source=source): maps[source],
        t("prediction.whole_map"): maps.sum(0),
        t("prediction.estimate"): _grad_cam(shown.key, shown.chosen, layer, shown.found.for_class),
    }
    pixels = shown.flat(shown.found.seen.pixels)
    for column, (caption, own) in zip(st.columns(3, gap="medium"), pictures.items(), strict=True):
        column.image(overlay(pixels, shown.flat(own), min_side=MAP_SIDE), caption=caption, width="stretch")
    if shown.found.source_maps:
        own = shown.flat(shown.found.source_maps[source])
        st.markdown(f"**{t('prediction.maps', source=source, number=len(own))}**")
        if len(own) > MAX_TILES:
            st.caption(t("prediction.first_maps", number=MAX_TILES))
        show_maps(own)
    expander = st.expander(t("prediction.filters"), icon=":material/grid_view:", key="filters", on_change="rerun")
    if expander.open:
        with expander:
            _show_filters(shown)


def show_maps(maps: Tensor) -> None:
    """Draw maps (C, h, w) as a grid, the larger the fewer they are."""
    columns = next(columns for most, columns in COLUMNS if len(maps) <= most)
    st.image(grid(maps, columns, min_side=WIDTH // columns), width="stretch")


def _choose_source(shown: Shown) -> None:
    parts = shown.found.table.set_index("source_layer")["contribution"]
    titles: dict[Any, str] = {STRONGEST: t("prediction.strongest", source=shown.strongest)}
    for source in parts.index:
        if source >= 0:
            titles[int(source)] = t("prediction.source_part", source=source, part=parts[source])
    remember(
        st.selectbox,
        t("prediction.source"),
        options=titles,
        key=SOURCE,
        default=STRONGEST,
        format_func=titles.__getitem__,
    )


@cache(64, private_entries=16, copies=False)
def _grad_cam(key: NetworkKey, chosen: ChosenImage, layer: str, for_class: int) -> Any:
    return grad_cam(open_predictor(key), prepare_chosen(key, chosen).images, layer, [for_class])[0].cpu()


def _show_filters(shown: Shown) -> None:
    """Show the filters of the first convolution; of one on volumes the slice in the middle."""
    from analysis.prediction.feature_maps import first_filters

    filters = first_filters(open_predictor(shown.key))
    size = " × ".join(map(str, filters.shape[2:]))
    st.caption(t("prediction.filters_note", number=len(filters), channels=filters.shape[1], size=size))
    if shown.dims == 3:
        filters = filters[:, :, filters.shape[2] // 2]
    elif shown.dims == 1:
        filters = filters[:, :, None]
    st.image(filter_grid(filters, columns=8, min_side=WIDTH // 8), width="stretch")
