"""Make every picture and generated table of the README and docs/ again: `make figures` (needs chromium).

`python -m tools.make_figures CIFAR10_JPEG` makes the picture of a prediction too; the folder has CIFAR-10's images as
JPEG files in class folders under test/ and train/.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from playwright.sync_api import sync_playwright

from analysis import connection_weights, feature_reuse_figure, save_figure
from analysis.claims.published import published_claims
from analysis.figures.agreement import agreement_figure
from analysis.figures.by_number import figure_3, figure_4
from analysis.figures.efficiency import data_set_figure
from analysis.figures.prediction.contributions import Explained, explanation_figure
from analysis.figures.pruning import pruning_figure
from analysis.prediction.explain import explain_image
from analysis.prediction.image_files import prepare_dataset_image
from analysis.results.results import mean_over_seeds, shipped_results
from analysis.reuse.agreement import agreement_table
from analysis.reuse.baselines import BASELINE_TITLES, ORDER_TITLES
from analysis.reuse.measures import MEASURE_TITLES
from densenet_core import load_zoo
from densenet_core.data.datasets import load_test_images
from tools.compare_definitions import definition_rows, draw_definitions
from tools.measured import measured_tables, network_title

DOCS = Path(__file__).parents[1] / "docs"
PORT = 8654
FEATURE_REUSE = {
    "densenet-40-12-digits": "feature_reuse_digits.png",
    "densenet-40-12-cifar10-jpeg": "figure_5.png",
    "densenet-bc-40-12-cifar10-jpeg": "feature_reuse_cifar10_jpeg.png",
}
ABLATION = {"densenet-bc-40-12-cifar10-jpeg": "ablation_cifar10_jpeg.png"}
SHOWN = "densenet-bc-40-12-cifar10-jpeg"  # in the pictures of agreement and pruning
PAPERS = "densenet-40-12-cifar10-jpeg"  # the architecture and data of the paper's Figure 5
SHOWN_ORDERS = ("mean_abs_weight", "total_abs_weight", "ablation", "random")
SHOWN_KEEPS = (0.8, 0.6, 0.4)
BENCHMARKS = DOCS.parent / "benchmarks" / "results"  # by `make bench`
COMPARED = ("inference", "training", "memory", "cost", "ablation", "starts", "runs", "large", "dashboard")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
EXPLAINED_ROWS = (8003, 7002)  # test images in the picture of a prediction
CLASS_ROWS = {  # of ``ClassAgreement``
    "same_class": "class-specific part: the same class on other images",
    "other_class": "class-specific part: another class (null)",
    "raw_same": "whole profile: the same class on other images",
    "raw_other": "whole profile: another class",
}


@contextmanager
def dashboard() -> Iterator[str]:
    """Yield a running dashboard, and its address."""
    options = ["--server.headless=true", f"--server.port={PORT}", "--client.toolbarMode=minimal"]
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", *options]
    server = subprocess.Popen(command, cwd=DOCS.parent, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://localhost:{PORT}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://localhost:{PORT}"
    finally:
        server.terminate()


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


def network_claims_table() -> str:
    """Return the paper's claims on the networks of the zoo, by tools/measure_claims.py, as Markdown."""
    tables = {name: table.set_index("claim") for name, table in measured_tables("claims").items()}
    titles = [network_title(name) for name in tables]
    lines = ["| claim | statistic | " + " | ".join(titles) + " |", "| --- " * (len(titles) + 2) + "|"]
    first = next(iter(tables.values()))
    for claim, row in first.iterrows():
        cells = [claim_cell(table.loc[claim]) for table in tables.values()]
        lines.append(f"| {in_table(row['statement'])} | {in_table(row['statistic'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def claim_cell(row: pd.Series) -> str:
    """Verdict, value, criterion and controls of one claim on one network."""
    if pd.isna(row["value"]):
        return f"{row['verdict']}: {row['reason']}"
    parts = [f"**{row['verdict']}**: {row['value']:.3g}", str(row["criterion"])]
    if row["num_untrained"]:
        extremes = f"{row['untrained_low']:.3g} to {row['untrained_high']:.3g}"
        parts.append(f"untrained {row['untrained']:.3g} ({extremes})")
    if isinstance(row["control"], str):
        parts.append(f"{row['control']} {row['control_value']:.3g}")
    return "; ".join(parts)


def published_claims_table() -> str:
    """Return the paper's statements on published results, as Markdown."""
    lines = ["| statement | verdict | numbers |", "| --- | --- | --- |"]
    lines += [f"| {row.statement} | {row.verdict} | {row.reason} |" for row in published_claims().itertuples()]
    return "\n".join(lines)


def in_table(text: str) -> str:
    """Text as a cell of a Markdown table."""
    return text.replace("|", "\\|")


def agreement_rows() -> str:
    """Return how each measure and structural baseline agrees with ablation on the networks of the zoo, as Markdown."""
    tables = measured_tables("effects")
    lines = ["| measure | " + " | ".join(map(network_title, tables)) + " |", "| --- " * (len(tables) + 1) + "|"]
    found = [agreement_table(table).set_index(["measure", "block_input"]) for table in tables.values()]
    for measure in found[0].index.unique("measure"):
        cells = []
        for rows in found:
            whole, inner = rows.loc[(measure, True)], rows.loc[(measure, False)]
            cells.append(
                f"{whole.spearman:.2f} [{whole.low:.2f}, {whole.high:.2f}]; {inner.spearman:.2f}; "
                f"{whole.within_targets:.2f}; {whole.overlap:.0%}"
            )
        title = (MEASURE_TITLES | BASELINE_TITLES)[measure]
        lines.append(f"| {in_table(title)} | {' | '.join(cells)} |")
    pairs = zip(found, tables.values(), strict=True)
    reliable = [f"{rows['reliability'].iloc[0]:.2f} ({table['num_images'].iloc[0]} images)" for rows, table in pairs]
    lines.append(f"| *reliability of ablation* | {' | '.join(reliable)} |")
    return "\n".join(lines).replace("-0.00", "0.00")


def pruning_rows() -> str:
    """Test error with ever fewer connections left, as Markdown."""
    found = measured_tables("pruning")
    titles = [network_title(name) for name in found]
    lines = ["| least first, by | " + " | ".join(titles) + " |", "| --- " * (len(titles) + 1) + "|"]
    tables = [table[table["repair"] == "none"] if "repair" in table else table for table in found.values()]
    for measure in tables[0]["measure"].unique():
        cells = []
        for table in tables:
            own = table[table["measure"] == measure].groupby("keep")["error"].mean()
            cells.append(" / ".join(f"{own[keep]:.1f}" for keep in (1.0, *SHOWN_KEEPS)))
        lines.append(f"| {in_table((ORDER_TITLES | {'random': 'random'})[measure])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def classes_rows() -> str:
    """Return how well the profiles of classes repeat on other images, trained and untrained, as Markdown."""
    found = measured_tables("classes")
    tables = [table.set_index("weights") for table in found.values()]
    lines = ["| | " + " | ".join(map(network_title, found)) + " |", "| --- " * (len(tables) + 1) + "|"]
    first = [table.loc["trained"] for table in tables]
    counts = [f"{row.num_images:.0f}, {row.num_classes:.0f}, {row.num_connections:.0f}" for row in first]
    lines.append(f"| images, classes, connections | {' | '.join(counts)} |")
    for weights in ("trained", "untrained"):
        for name, title in CLASS_ROWS.items():
            cells = [f"{table.loc[weights, name]:.2f}".replace("-0.00", "0.00") for table in tables]
            lines.append(f"| {title}, {weights} | {' | '.join(cells)} |")
        p_values = [f"{table.loc[weights, 'p_value']:.1g}" for table in tables]
        lines.append(f"| p of the class-specific part (10,000 permutations), {weights} | {' | '.join(p_values)} |")
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
    """Pictures in one row."""
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


def main(cifar10_jpeg: str | None = None) -> None:
    for name, picture in FEATURE_REUSE.items():
        save_figure(feature_reuse_figure(connection_weights(load_zoo(name))), DOCS / picture)
    fill("docs/findings.md", "network_claims", network_claims_table())
    fill("docs/efficiency.md", "claims", published_claims_table())
    papers = connection_weights(load_zoo(PAPERS))
    draw_definitions(papers, DOCS / "figure_5")
    fill("docs/findings.md", "definitions", definition_rows(papers))
    fill("docs/findings.md", "agreement", agreement_rows())
    fill("docs/findings.md", "pruning", pruning_rows())
    fill("docs/findings.md", "classes", classes_rows())
    if cifar10_jpeg:
        save_figure(prediction_figure(cifar10_jpeg), DOCS / "prediction.png")
    effects = measured_tables("effects")
    for name, picture in ABLATION.items():
        save_figure(feature_reuse_figure(effects[name], "ablation"), DOCS / picture)
    panels = [DOCS / "left.png", DOCS / "right.png"]
    save_figure(agreement_figure(effects[SHOWN], "mean_abs_weight", "ablation"), panels[0])
    curves = measured_tables("pruning")[SHOWN].query("measure in @SHOWN_ORDERS and repair == 'none'")
    save_figure(pruning_figure(curves), panels[1])
    side_by_side(panels, DOCS / "effects.png")
    fill("docs/efficiency.md", "sweep", sweep_table("Digits (8x8)"))
    fill("docs/efficiency.md", "networks", sweep_table("CIFAR-10 (JPEG)+"))
    fill("docs/benchmarks.md", "benchmarks", benchmarks_table())
    save_figure(figure_3()[0], DOCS / "figure_3.png")
    panels = [DOCS / "left.png", DOCS / "middle.png"]
    for panel, file in zip(("left", "middle"), panels, strict=True):
        save_figure(figure_4(panel, shipped_results().query("dataset == 'Digits (8x8)'"))[0], file)
    side_by_side(panels, DOCS / "figure_4.png")
    networks = shipped_results().query("dataset == 'CIFAR-10 (JPEG)+'")
    save_figure(data_set_figure(networks), DOCS / "figure_4_cifar10_jpeg.png")
    with dashboard() as address:
        screenshot(address, DOCS / "dashboard.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
