"""One layer: its map over the image, Grad-CAM at any layer, its feature maps, and the filters of the first layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from analysis.figures.prediction.style import MAX_TILES, filter_grid, grid, overlay
from analysis.prediction.maps import grad_cam, layer_names
from app.dashboard.caching import cache
from app.dashboard.keys import NetworkKey
from app.dashboard.language import t
from app.dashboard.memory import remember
from app.dashboard.views.prediction.code import EXPORT, picture_code
from app.dashboard.views.prediction.images import ChosenImage, open_predictor, prepare_chosen
from app.dashboard.views.prediction.overview import SOURCE, STRONGEST, chosen_source
from app.dashboard.widgets.downloads import download_picture
from app.dashboard.widgets.handover import Code
from app.dashboard.widgets.scripts import Imports, script
from app.text import signed

if TYPE_CHECKING:
    from torch import Tensor

    from app.dashboard.views.prediction.overview import Shown

MAP_SIDE = 336  # pixels of a map over the image
COLUMNS = ((12, 6), (32, 8), (72, 12), (10**6, 16))  # of a grid of at most so many maps
WIDTH = 1024  # pixels of a grid
KINDS = ("conv", "norm", "denseblock", "denselayer", "transition", "layer", "stage", "block")  # of modules


def show_layer(shown: Shown) -> None:
    """Draw the maps of the chosen source layer, and the filters of the first convolution once they are opened."""
    left, _, right = st.columns(3, gap="medium")
    with left:
        _choose_source(shown)
    with right:
        layers = layer_names(open_predictor(shown.key))
        layer = remember(
            st.selectbox,
            t("prediction.grad_cam"),
            options=layers,
            key="prediction_layer",
            default=layers[len(layers) // 2],
            format_func=layer_title,
        )
    for column, own in zip(st.columns(3, gap="medium"), _pictures(shown, layer), strict=True):
        with column:
            _show_overlay(shown, own)
    if shown.found.source_maps:
        _show_source_maps(shown)
    expander = st.expander(t("prediction.filters"), icon=":material/grid_view:", key="filters", on_change="rerun")
    if expander.open:
        with expander:
            _show_filters(shown)


class Overlay(NamedTuple):
    """A map over the image."""

    name: str  # of its files
    caption: str
    own_map: Tensor
    expression: str  # Python that returns the map
    imports: Imports


def _pictures(shown: Shown, layer: str) -> list[Overlay]:
    source, maps, for_class = chosen_source(shown), shown.found.maps, shown.found.for_class
    estimate = f"grad_cam(network, seen.images, {layer!r}, [{for_class}])[0].cpu()"
    return [
        Overlay("source_map", t("prediction.own_map", source=source), maps[source], f"found.maps[{source}]", {}),
        Overlay("class_map", t("prediction.whole_map"), maps.sum(0), "found.maps.sum(0)", {}),
        Overlay(
            "grad_cam",
            t("prediction.estimate"),
            _grad_cam(shown.key, shown.chosen, layer, for_class),
            estimate,
            {"analysis.prediction.maps": "grad_cam"},
        ),
    ]


def _show_overlay(shown: Shown, own: Overlay) -> None:
    """Draw a map over the image, with its true size and range: a small one is enlarged smoothly."""
    values = shown.flat(own.own_map)
    pixels = overlay(shown.flat(shown.found.seen.pixels), values, min_side=MAP_SIDE)
    size, low, high = " × ".join(map(str, values.shape)), signed(float(values.min())), signed(float(values.max()))
    caption = f"{own.caption}  \n{t('prediction.map_size', size=size, low=low, high=high)}"
    st.image(pixels, caption=caption, width="stretch")
    code = picture_code(shown, own.name, "overlay", own.expression, own.imports, min_side=MAP_SIDE)
    download_picture(own.name, pixels, values, f"{own.name}_", code)


def _show_source_maps(shown: Shown) -> None:
    source = chosen_source(shown)
    own = shown.flat(shown.found.source_maps[source])
    st.markdown(f"**{t('prediction.maps', source=source, number=len(own))}**")
    if len(own) > MAX_TILES:
        st.caption(t("prediction.first_maps", number=MAX_TILES))
    code = picture_code(shown, "feature_maps", "grid", f"found.source_maps[{source}]", {}, **grid_options(own))
    show_maps(own, "feature_maps", code)


def show_maps(maps: Tensor, name: str, code: Code) -> None:
    """Draw maps (C, h, w) as a grid, the larger the fewer they are, with its downloads."""
    pixels = grid(maps, **grid_options(maps))
    st.image(pixels, width="stretch")
    download_picture(name, pixels, maps, f"{name}_", code)


def grid_options(maps: Tensor) -> dict[str, int]:
    """Return the options of ``grid`` for so many maps."""
    columns = next(columns for most, columns in COLUMNS if len(maps) <= most)
    return {"columns": columns, "min_side": WIDTH // columns}


def layer_title(name: str) -> str:
    """Return a module's name in words: "Block 2, layer 3" of "features.denseblock2.denselayer3"."""
    titles = []
    for part in name.split("."):
        kind = part.rstrip("0123456789")
        if kind in KINDS:
            titles.append(t(f"prediction.modules.{kind}", number=part.removeprefix(kind)))
        elif not kind:  # of a stage, counted from 0
            titles.append(t("prediction.modules.part", number=int(part) + 1))
    return ", ".join(titles) or name


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
    pixels = filter_grid(filters, columns=8, min_side=WIDTH // 8)
    st.image(pixels, width="stretch")
    download_picture("first_filters", pixels, filters, "first_filters_", _filters_code(shown))


def _filters_code(shown: Shown) -> Code:
    part = {1: "[:, :, None]", 2: "", 3: "[:, :, filters.shape[2] // 2]"}[shown.dims]
    imports = {"analysis.prediction.feature_maps": "first_filters"}
    imports |= {"analysis.figures.prediction.style": "filter_grid", EXPORT: "save_picture"}
    lines = ["filters = first_filters(network)", *([f"filters = filters{part}"] if part else [])]
    draw = f"filter_grid(filters, columns=8, min_side={WIDTH // 8})"
    return script(shown.key, imports, [*lines, f'save_picture({draw}, "first_filters.png", filters)'])
