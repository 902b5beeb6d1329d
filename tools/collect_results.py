"""Write the results of finished runs into one table: `python -m tools.collect_results OUT.csv RUN [RUN ...]`.

Made ``analysis/results/measured/sweep_cifar10_jpeg.csv`` from the runs that docs/efficiency.md describes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from analysis.figures.export import save_table
from analysis.results.results import measured_results


def main(out: str, *runs: str) -> None:
    table = measured_results(runs, include_zoo=False)
    if table.attrs["skipped"]:
        raise SystemExit("; ".join(table.attrs["skipped"]))
    print("wrote", save_table(table.sort_values(["family", "params"]), Path(out)))


if __name__ == "__main__":
    main(*sys.argv[1:])
