"""The paper's Tables 1, 2 and 3, with the user's own runs as further rows, as DataFrames and as LaTeX."""

from __future__ import annotations

import re

import pandas as pd

from analysis.cost import count_cost
from analysis.efficiency import count
from analysis.results import mean_over_seeds, published_results
from densenet_core import DenseNetSpec

DATASETS = ("C10", "C10+", "C100", "C100+", "SVHN")
TABLE_1_NETWORKS = ("121", "169", "201", "264")
TABLE_SOURCES = {2: "Huang et al. 2017, Table 2", 3: "Huang et al. 2017, Table 3"}


def paper_table(number: int, own: pd.DataFrame | None = None) -> pd.DataFrame:
    """One of the paper's tables.

    Args:
        number: 1: the ImageNet architectures, from their specs; 2: errors on CIFAR and SVHN; 3: errors on ImageNet.
        own: for 2 and 3, measured results (``analysis.results``) to append, seeds as mean ± standard deviation. In
            Table 2 a data set that the paper does not have gets a column of its own; Table 3 is of ImageNet alone.

    Returns:
        Text cells, as they are printed; an empty one where there is no number. A star marks other people's networks
        that the paper's authors ran themselves.

    Raises:
        ValueError: there is no such table, or it has no place for ``own``.
    """
    if number not in (1, 2, 3):
        raise ValueError(f"table {number} is none of 1, 2, 3")
    has_own = own is not None and not own.empty
    if number == 1 and has_own:
        raise ValueError("table 1 is of architectures: it has no place for runs")
    if number == 1:
        return _table_1()
    if number == 3 and own is not None and not (own["dataset"] == "ImageNet").all():
        raise ValueError("table 3 is of ImageNet: leave out runs on other data")
    results = published_results()
    published = results[results["source"] == TABLE_SOURCES[number]]
    return _errors(published, own, per="dataset" if number == 2 else "error_kind")


def latex_table(table: pd.DataFrame) -> str:
    """A table as LaTeX for the booktabs package."""
    escaped = table.map(_escaped).rename(columns=_escaped)
    text: str = escaped.to_latex(index=False, column_format="l" + "c" * (table.shape[1] - 1))
    return text


def _errors(published: pd.DataFrame, own: pd.DataFrame | None, per: str) -> pd.DataFrame:
    parts = [published] if own is None or own.empty else [published, mean_over_seeds(own)]
    results = pd.concat(parts, ignore_index=True)
    columns = list(dict.fromkeys(results[per]))
    ordered = [c for c in DATASETS if c in columns] + [c for c in columns if c not in DATASETS]
    rows = []
    for (origin, model, _), group in results.groupby(["origin", "model", "epochs"], sort=False, dropna=False):
        first = group.iloc[0]
        row = {
            "Method": model if origin == "published" else f"{model} (measured, {first['epochs']:.0f} epochs)",
            "Depth": _number(first["depth"], "{:.0f}"),
            "Params": _number(first["params"], count),
            "Params, printed": _number(first["params_printed"], count),
        }
        cells = {c: _error(group[group[per] == c]) for c in ordered}
        rows.append(row | cells)
    return pd.DataFrame(rows)


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


def _table_1() -> pd.DataFrame:
    specs = {f"DenseNet-{name}": DenseNetSpec.imagenet(name) for name in TABLE_1_NETWORKS}
    first = next(iter(specs.values()))
    cost = count_cost(first, 224)
    size = {stage: rows["output_shape"].iloc[0][1] for stage, rows in cost[cost["kind"] != "linear"].groupby("stage")}
    rows = [_row_1("Convolution", size["stem"], "7 x 7 conv, stride 2", specs)]
    rows.append(_row_1("Pooling", size["block1"], "3 x 3 max pool, stride 2", specs))
    for block in range(1, len(first.block_config) + 1):
        layers = {name: f"[1 x 1 conv, 3 x 3 conv] x {spec.block_config[block - 1]}" for name, spec in specs.items()}
        rows.append({"Layers": f"Dense Block ({block})", "Output size": _side(size[f"block{block}"])} | layers)
        if block < len(first.block_config):
            rows.append(_row_1(f"Transition Layer ({block})", size[f"block{block}"], "1 x 1 conv", specs))
            rows.append(_row_1("", size[f"block{block + 1}"], "2 x 2 average pool, stride 2", specs))
    rows.append(_row_1("Classification Layer", 1, f"{size['block4']} x {size['block4']} global average pool", specs))
    rows.append({"Layers": "", "Output size": ""} | dict.fromkeys(specs, "1000D fully-connected, softmax"))
    return pd.DataFrame(rows)


def _row_1(layers: str, size: int, content: str, networks: dict[str, DenseNetSpec]) -> dict[str, str]:
    return {"Layers": layers, "Output size": _side(size)} | dict.fromkeys(networks, content)


def _side(size: int) -> str:
    return f"{size} x {size}"


def _escaped(cell: object) -> str:
    text = str(cell).replace("\\", r"\textbackslash ")
    text = re.sub(r"([&%$#_{}])", r"\\\1", text)
    for sign, command in (("~", r"\textasciitilde "), ("^", r"\textasciicircum "), ("±", r"$\pm$")):
        text = text.replace(sign, command)
    return text.replace(" x ", r" $\times$ ")
