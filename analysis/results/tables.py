"""The paper's Tables 1, 2 and 3, with the user's own runs as further rows, as DataFrames and as LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from analysis.architecture.cost import default_input_size
from analysis.results.efficiency import count
from analysis.results.results import mean_over_seeds, tabulated_results
from densenet_core import DenseNetSpec
from densenet_core.networks.layers import Layer, network_layers
from densenet_core.networks.spec import Spec

CROPS = {"top-1": ("top1_single_crop", "top1_10_crop"), "top-5": ("top5_single_crop", "top5_10_crop")}
DATASETS = ("C10", "C10+", "C100", "C100+", "SVHN")
TABLE_1_NETWORKS = ("121", "169", "201", "264")
TABLE_SOURCES = {2: "Huang et al. 2017, Table 2", 3: "Huang et al. 2017, Table 3"}


def paper_table(number: int, own: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one of the paper's tables.

    Args:
        number: 1: ImageNet architectures, by their specs; 2: errors on CIFAR and SVHN; 3: errors on ImageNet.
        own: for 2 and 3, measured results (``analysis.results.results``) to append, seeds as mean ± standard deviation.
            In Table 2 other data sets than the paper's get a column each; Table 3 is for ImageNet only.

    Returns:
        Text cells, as they are printed; an empty one where there is no number. A star marks other people's networks
        that the paper's authors ran themselves. Params are counted; "Params, printed" is the paper's number. Table 3
        has errors with a single crop, and with 10 crops in parentheses.

    Raises:
        ValueError: the number is unknown, or the table does not take these results.
    """
    if number not in (1, 2, 3):
        raise ValueError(f"table {number} is unknown: choose 1, 2 or 3")
    if number == 1 and own is not None and not own.empty:
        raise ValueError("table 1 lists architectures: leave out the runs")
    if number == 1:
        return architecture_table({f"DenseNet-{name}": DenseNetSpec.imagenet(name) for name in TABLE_1_NETWORKS})
    if number == 3 and own is not None and not (own["dataset"] == "ImageNet").all():
        raise ValueError("table 3 is for ImageNet: leave out runs on other data")
    results = tabulated_results()
    published = results[results["source"] == TABLE_SOURCES[number]]
    parts = [published] if own is None or own.empty else [published, mean_over_seeds(own)]
    results = pd.concat(parts, ignore_index=True)
    return _table_2(results) if number == 2 else _table_3(results)


def latex_table(table: pd.DataFrame) -> str:
    """Return a table as LaTeX; its first line names the package that it needs, booktabs."""
    escaped = table.map(_escape).rename(columns=_escape)
    text: str = escaped.to_latex(index=False, column_format="l" + "c" * (table.shape[1] - 1))
    return f"% \\usepackage{{booktabs}}\n{text}"


def _table_2(results: pd.DataFrame) -> pd.DataFrame:
    datasets = list(dict.fromkeys(results["dataset"]))
    ordered = [c for c in DATASETS if c in datasets] + [c for c in datasets if c not in DATASETS]
    rows = []
    for group in _methods(results):
        printed = {"Params, printed": _number(group["params_printed"].iloc[0] / 1e6, "{:.1f}M")}
        cells = {dataset: _error(group[group["dataset"] == dataset]) for dataset in ordered}
        rows.append(_about(group) | printed | cells)
    return pd.DataFrame(rows)


def _table_3(results: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for group in _methods(results):
        cells = {}
        for column, kinds in CROPS.items():
            single, crops = (_error(group[group["error_kind"] == kind]) for kind in kinds)
            cells[f"{column}, single crop (10-crop)"] = f"{single} ({crops})" if crops else single
        rows.append(_about(group) | cells)
    return pd.DataFrame(rows)


def _methods(results: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows of each network and training."""
    for _, group in results.groupby(["origin", "model", "epochs"], sort=False, dropna=False):
        yield group


def _about(rows: pd.DataFrame) -> dict[str, str]:
    first = rows.iloc[0]
    epochs = f"{first['epochs']:.0f} epoch{'' if first['epochs'] == 1 else 's'}"
    measured = "" if first["origin"] == "published" else f" (measured, {epochs})"
    return {
        "Method": f"{first['model']}{measured}",
        "Depth": _number(first["depth"], "{:.0f}"),
        "Params": _number(first["params"], count),
    }


def _error(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    first = rows.iloc[0]
    spread = f" ± {first['spread']:.2f}" if first["seeds"] > 1 and pd.notna(first["spread"]) else ""
    is_theirs = isinstance(first["note"], str) and "run by the DenseNet authors" in first["note"]
    star = "*" if is_theirs and not str(first["family"]).startswith("DenseNet") else ""
    return f"{first['error']:.2f}{spread}{star}"


def _number(value: float, form: object) -> str:
    if pd.isna(value):
        return ""
    return form.format(value) if isinstance(form, str) else str(count(value))


class _Row(NamedTuple):
    """One row of Table 1 for one network; ``place`` orders the rows and matches those of other networks."""

    place: tuple[float, int]
    layers: str
    size: int
    content: str


def architecture_table(networks: Mapping[str, Spec], input_size: int | None = None) -> pd.DataFrame:
    """Return the paper's Table 1 for any DenseNets: a column per network, a row per stage.

    Args:
        networks: specs by the names to show.
        input_size: height and width of the image in pixels; by default each network's own.

    Returns:
        Text cells. If a stage's output sizes differ between networks, all are listed in order; the cell of a network
        without the stage is empty.

    Raises:
        ValueError: ``networks`` is empty, one is not a DenseNet, or the input is too small for one of them.
    """
    if not networks:
        raise ValueError("networks is empty: pass one or more")
    rows: dict[str, dict[tuple[float, int], _Row]] = {}
    for name, spec in networks.items():
        if not isinstance(spec, DenseNetSpec):
            raise ValueError(f"network {name!r} is a {spec.title}: Table 1 is for DenseNets")
        rows[name] = {row.place: row for row in _rows_1(spec, input_size)}
    table = []
    for place in sorted({place for own in rows.values() for place in own}):
        found = {name: own[place] for name, own in rows.items() if place in own}
        sizes = " / ".join(dict.fromkeys(_side(row.size) for row in found.values() if row.size))
        cells = {name: found[name].content if name in found else "" for name in networks}
        table.append({"Layers": next(iter(found.values())).layers, "Output size": sizes} | cells)
    return pd.DataFrame(table)


def _rows_1(spec: DenseNetSpec, input_size: int | None) -> Iterator[_Row]:
    stages: dict[str, list[Layer]] = {}
    for layer in network_layers(spec, default_input_size(spec) if input_size is None else input_size):
        stages.setdefault(layer.stage, []).append(layer)
    yield from _stem_rows(stages["stem"])
    for block, num_layers in enumerate(spec.block_config, start=1):
        first = [layer for layer in stages[f"block{block}"] if ".denselayer1." in layer.name and layer.kind == "conv"]
        convs = ", ".join(f"{_side(conv.kernel)} conv" for conv in first)
        yield _Row((block, 0), f"Dense Block ({block})", first[-1].out_size, f"[{convs}] x {num_layers}")
        yield from _transition_rows(block, stages.get(f"transition{block}", []))
    pooled = next(layer for layer in stages["head"] if layer.kind == "global_pool")
    text = f"{_side(pooled.in_size)} global average pool"
    yield _Row((math.inf, 0), "Classification Layer", pooled.out_size, text)
    yield _Row((math.inf, 1), "", 0, f"{spec.num_classes}D fully-connected, softmax")


def _stem_rows(layers: list[Layer]) -> Iterator[_Row]:
    words = {"conv": ("Convolution", "conv"), "max_pool": ("Pooling", "max pool")}
    for place, layer in enumerate(layers):
        if layer.kind in words:
            label, word = words[layer.kind]
            stride = f", stride {layer.stride}" if layer.stride > 1 else ""
            yield _Row((0, place), label, layer.out_size, f"{_side(layer.kernel)} {word}{stride}")


def _transition_rows(block: int, layers: list[Layer]) -> Iterator[_Row]:
    for layer in layers:
        if layer.kind == "conv":
            yield _Row((block, 1), f"Transition Layer ({block})", layer.out_size, f"{_side(layer.kernel)} conv")
        elif layer.kind == "avg_pool":
            text = f"{_side(layer.kernel)} average pool, stride {layer.stride}"
            yield _Row((block, 2), "", layer.out_size, text)


def _side(size: int) -> str:
    return f"{size} x {size}"


def _escape(cell: object) -> str:
    text = str(cell).replace("\\", r"\textbackslash ")
    text = re.sub(r"([&%$#_{}])", r"\\\1", text)
    for sign, command in (("~", r"\textasciitilde "), ("^", r"\textasciicircum "), ("±", r"$\pm$")):
        text = text.replace(sign, command)
    return text.replace(" x ", r" $\times$ ")
