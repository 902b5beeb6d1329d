"""Make every picture and generated table of the README and docs/ again: `make figures` (needs chromium).

python -m tools.make_figures [CIFAR10_JPEG] [--only PART ...]

CIFAR10_JPEG is a folder with CIFAR-10's images as JPEG files in class folders under test/ and train/.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from playwright.sync_api import sync_playwright

from analysis import connection_weights, feature_reuse_figure, save_figure
from analysis.claims.published import published_claims
from analysis.figures.agreement import agreement_figure
from analysis.figures.by_number import figure_3, figure_4
from analysis.figures.efficiency.paper import data_set_figure
from analysis.figures.prediction.contributions import Explained, explanation_figure
from analysis.figures.pruning import pruning_figure
from analysis.prediction.explain import explain_image
from analysis.prediction.image_files import prepare_dataset_image
from analysis.results.results import mean_over_seeds, shipped_results
from benchmarks.support.served import serving
from densenet_core import load_zoo
from densenet_core.data.datasets import load_test_images
from tools.findings.compare_definitions import definition_rows, draw_definitions
from tools.findings.measured import measured_tables
from tools.findings.seeds_tables import seeds_agreement_rows, seeds_claims_rows, seeds_decision_rows
from tools.findings.tables import (
    agreement_rows,
    classes_rows,
    decision_rows,
    difference_rows,
    network_claims_table,
    overfitting_rows,
    pruning_rows,
    scratch_rows,
)

DOCS = Path(__file__).parents[1] / "docs"
FEATURE_REUSE = {
    "densenet-40-12-digits": "feature_reuse_digits.png",
    "densenet-40-12-cifar10-jpeg": "figure_5.png",
    "densenet-bc-40-12-cifar10-jpeg": "feature_reuse_cifar10_jpeg.png",
}
ABLATION = {"densenet-bc-40-12-cifar10-jpeg": "ablation_cifar10_jpeg.png"}
SHOWN = "densenet-bc-40-12-cifar10-jpeg"  # in the pictures of agreement and pruning
PAPERS = "densenet-40-12-cifar10-jpeg"  # the architecture and data of the paper's Figure 5
SHOWN_ORDERS = ("mean_abs_weight", "total_abs_weight", "ablation", "random")
BENCHMARKS = DOCS.parent / "benchmarks" / "results"  # by `make bench`
COMPARED = ("inference", "training", "memory", "cost", "ablation", "starts", "runs", "large", "dashboard")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
EXPLAINED_ROWS = (8003, 7002)  # test images in the picture of a prediction


@contextmanager
def dashboard() -> Iterator[str]:
    """Yield the address of a running dashboard, without Streamlit's own menu."""
    option = "--client.toolbarMode=minimal"
    with TemporaryDirectory() as folder, serving(DOCS.parent, Path(folder) / "log", option) as server:
        yield server.url


def screenshot(address: str, file: Path, width: int = 1440, height: int = 1000) -> None:
    """Draw the page as a visitor sees it once its heatmaps are drawn."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(address)
        page.wait_for_selector(".js-plotly-plot", timeout=60_000)
        page.wait_for_load_state("networkidle")
        time.sleep(2)  # the charts' fonts
        page.screenshot(path=file)
        browser.close()


def published_claims_table() -> str:
    """Return the paper's statements on published results, as Markdown."""
    lines = ["| statement | verdict | numbers |", "| --- | --- | --- |"]
    lines += [f"| {row.statement} | {row.verdict} | {row.reason} |" for row in published_claims().itertuples()]
    return "\n".join(lines)


def sweep_table(dataset: str) -> str:
    """Return the shipped results on a data set, as Markdown."""
    lines = ["| network | parameters | mult_adds | test error (%) |", "| --- | ---: | ---: | ---: |"]
    for row in mean_over_seeds(shipped_results().query("dataset == @dataset")).itertuples():
        spread = "" if pd.isna(row.spread) else f" ± {row.spread:.2f}"
        lines.append(f"| {row.model} | {row.params:,} | {row.mult_adds:,} | {row.error:.2f}{spread} |")
    return "\n".join(lines)


def benchmarks_table() -> str:
    """Return the recorded results of the benchmarks that compare, as Markdown."""
    lines = ["| what | way | median (quartiles), ms | times ours | memory, MB |", "| --- | --- | ---: | ---: | ---: |"]
    machines, loads = set(), []
    for file in [BENCHMARKS / f"{subject}.json" for subject in COMPARED]:
        if not file.exists():
            continue
        result = json.loads(file.read_text())
        machines.add(f"{result['hardware']}, {result['cpu']}, torch {result['versions']['torch']}, {result['date']}")
        loads.append(f"{file.stem} {result['load']['others']:.0%}")
        lines += [_benchmark_row(file.stem, row) for row in result["rows"] if "slope" not in row]
    measured = f"Measured on {'; '.join(sorted(machines))}."
    others = f"Other processes used this share of the processor: {', '.join(loads)}."
    return "\n".join([measured, others, "", *lines])


def _benchmark_row(subject: str, row: dict[str, Any]) -> str:
    time = times = ""
    if "ms" in row:
        time, times = _number(row["ms"]), f"{row['times_ours']:.2f}"
    if "ms_low" in row:
        time += f" ({_number(row['ms_low'])} to {_number(row['ms_high'])})"
    memory = f"{row['peak_mb']:,.0f}" if "peak_mb" in row else ""
    return f"| {subject}: {row['case']} | {row['way']} | {time} | {times} | {memory} |"


def _number(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.2g}"


def prediction_figure(cifar10_jpeg: str) -> Figure:
    """Return what each layer adds to the class of two test images: class activation map and logit by layer."""
    network = load_zoo(SHOWN)
    test = load_test_images("folder", Path(cifar10_jpeg) / "test", "cifar10")
    rows = []
    for row in EXPLAINED_ROWS:
        found = explain_image(network, prepare_dataset_image(test, row), test.class_names)
        title = f"{found.title} ({found.probability:.0%})"
        rows.append(Explained(title, found.seen.pixels, found.maps.sum(0), found.table))
    return explanation_figure(rows)


def side_by_side(files: list[Path], out: Path) -> None:
    """Place pictures in one row."""
    pictures = [Image.open(file) for file in files]
    row = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width
    row.save(out)
    for file in files:
        file.unlink()


def fill(page: str, mark: str, content: str) -> None:
    """Put ``content`` between the comments ``mark`` and ``end`` of a page of docs/ or of the README."""
    file = DOCS.parent / page
    comment = f"<!-- {mark}: made by tools/make_figures.py -->"
    head, rest = file.read_text().split(f"{comment}\n", 1)
    tail = rest.split("<!-- end -->", 1)[1]
    file.write_text(f"{head}{comment}\n{content}\n\n<!-- end -->{tail}")


def fill_tables() -> None:
    """Write the generated tables of the pages."""
    tables = {
        "network_claims": network_claims_table,
        "overfitting": overfitting_rows,
        "agreement": agreement_rows,
        "differences": difference_rows,
        "pruning": pruning_rows,
        "scratch": scratch_rows,
        "definitions": lambda: definition_rows(connection_weights(load_zoo(PAPERS))),
        "decisions": decision_rows,
        "classes": classes_rows,
        "seeds_agreement": seeds_agreement_rows,
        "seeds_claims": seeds_claims_rows,
        "seeds_decisions": seeds_decision_rows,
    }
    for mark, table in tables.items():
        fill("docs/findings.md", mark, table())
    fill("docs/efficiency.md", "claims", published_claims_table())
    fill("docs/efficiency.md", "sweep", sweep_table("Digits (8x8)"))
    fill("docs/efficiency.md", "networks", sweep_table("CIFAR-10 (JPEG)+"))
    fill("docs/benchmarks.md", "benchmarks", benchmarks_table())


def draw_reuse() -> None:
    """Draw the pictures of feature reuse, by weight and by effect."""
    for name, picture in FEATURE_REUSE.items():
        save_figure(feature_reuse_figure(connection_weights(load_zoo(name))), DOCS / picture)
    draw_definitions(connection_weights(load_zoo(PAPERS)), DOCS / "figure_5")
    effects = measured_tables("effects")
    for name, picture in ABLATION.items():
        save_figure(feature_reuse_figure(effects[name], "ablation"), DOCS / picture)
    panels = [DOCS / "left.png", DOCS / "right.png"]
    save_figure(agreement_figure(effects[SHOWN], "mean_abs_weight", "ablation"), panels[0])
    curves = measured_tables("pruning")[SHOWN].query("measure in @SHOWN_ORDERS and repair == 'none'")
    save_figure(pruning_figure(curves), panels[1])
    side_by_side(panels, DOCS / "effects.png")


def draw_efficiency() -> None:
    """Draw the pictures of error against cost."""
    save_figure(figure_3()[0], DOCS / "figure_3.png")
    panels = [DOCS / "left.png", DOCS / "middle.png"]
    for panel, file in zip(("left", "middle"), panels, strict=True):
        save_figure(figure_4(panel, shipped_results().query("dataset == 'Digits (8x8)'"))[0], file)
    side_by_side(panels, DOCS / "figure_4.png")
    networks = shipped_results().query("dataset == 'CIFAR-10 (JPEG)+'")
    save_figure(data_set_figure(networks), DOCS / "figure_4_cifar10_jpeg.png")


def draw_dashboard() -> None:
    """Draw the dashboard's first page."""
    with dashboard() as address:
        screenshot(address, DOCS / "dashboard.png")


PARTS = {"tables": fill_tables, "reuse": draw_reuse, "efficiency": draw_efficiency, "dashboard": draw_dashboard}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar10_jpeg", nargs="?", help="make the picture of a prediction, too, from these images")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="the parts to make")
    options = parser.parse_args()
    for part in options.only:
        PARTS[part]()
    if options.cifar10_jpeg:
        save_figure(prediction_figure(options.cifar10_jpeg), DOCS / "prediction.png")


if __name__ == "__main__":
    main()
