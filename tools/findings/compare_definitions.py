"""Compare the two definitions of Figure 5's weight: `python -m tools.findings.compare_definitions CHECKPOINT [OUT]`.

Prints a Markdown table: for each block and kind of target, the range of the mean |w| and of the L1 norm per input map,
over the largest value of the block. With OUT, it writes both heatmaps there, on the paper's scale, as OUT_mean.png and
OUT_l1.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from analysis import connection_weights, feature_reuse_figure, save_figure
from densenet_core import load_checkpoint

DEFINITIONS = {"mean_abs_weight": "mean", "l1_per_input_map": "l1"}
KINDS = {"dense_layer": "dense layers", "transition": "transition", "classifier": "classifier"}


def definition_rows(table: pd.DataFrame) -> str:
    """Return the ranges of both definitions as Markdown; ``table`` is from ``connection_weights``."""
    lines = ["| block | connections into | mean \\|w\\| | L1 norm per input map |", "| --- | --- | --- | --- |"]
    values = table[list(DEFINITIONS)]
    shares = values / values.groupby(table["block"]).transform("max")
    for (block, kind), rows in shares.groupby([table["block"], table["target_kind"]], sort=False):
        cells = [f"{own.min():.2f} to {own.max():.2f} (median {own.median():.2f})" for _, own in rows.items()]
        lines.append(f"| {block} | {KINDS[kind]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_definitions(table: pd.DataFrame, out: Path) -> list[Path]:
    """Draw the heatmap of each definition, scaled as the paper's, and return the files."""
    files = [out.with_name(f"{out.name}_{ending}.png") for ending in DEFINITIONS.values()]
    for measure, file in zip(DEFINITIONS, files, strict=True):
        save_figure(feature_reuse_figure(table, measure, "block_max"), file)
    return files


def main(checkpoint: str, out: str | None = None) -> None:
    table = connection_weights(load_checkpoint(checkpoint))
    print(definition_rows(table))
    if out is not None:
        print("wrote", *draw_definitions(table, Path(out)))


if __name__ == "__main__":
    main(*sys.argv[1:])
