"""What pages hand over: archives of a page's figures, and code that names what exists."""

from __future__ import annotations

import ast
import importlib
import io
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from matplotlib.figure import Figure

from analysis import published_results
from analysis.figures.export import figure_bytes, picture_bytes
from app.dashboard.archive import archive
from app.dashboard.keys import ImagesKey, NetworkKey, file_key
from app.dashboard.widgets import downloads
from app.dashboard.widgets.comparing import (
    Results,
    Side,
    compared_table_code,
    comparison_code,
    curves_code,
    difference_code,
    efficiency_code,
    latency_code,
    seeds_code,
    two_networks_code,
)
from app.dashboard.widgets.downloads import Item, Named, describing
from app.dashboard.widgets.handover import (
    Code,
    agreement_code,
    claims_code,
    gradients_code,
    pruning_code,
    reuse_code,
)
from app.text import suite_version
from densenet_core import load_zoo
from densenet_core.checkpoints.zoo import zoo_path
from densenet_core.networks.names import spec_from_name

DIGITS = "densenet-40-12-digits"
KEY = file_key(zoo_path(DIGITS))
IMAGES = ImagesKey("digits", "data", None, 20)
OTHER = file_key(zoo_path("densenet-bc-76-12-digits"))
NAMED = {"first": KEY, "it's": NetworkKey("arch", "resnet-20")}
RESULTS = published_results()
RESULTS = RESULTS[(RESULTS["dataset"] == "C10+") & (RESULTS["error_kind"] == RESULTS["error_kind"].iloc[0])]
CODES = {
    "reuse": reuse_code(KEY, IMAGES, "taylor", "block_max", "jet", 2),
    "agreement": agreement_code(KEY, IMAGES, "taylor", "contribution", None),
    "agreement of weights": agreement_code(KEY, None, "total_abs_weight", "mean_abs_weight", "transition"),
    "claims": claims_code(KEY, IMAGES),
    "claims on weights": claims_code(KEY, None),
    "gradients": gradients_code(KEY, IMAGES, "weight_gradient"),
    "path shares": gradients_code(KEY, IMAGES, None),
    "pruning": pruning_code(KEY, IMAGES, ("taylor",), "params", "mean", "mult_adds"),
    "comparison": comparison_code(NAMED, 32),
    "compared table": compared_table_code(NAMED, "compare", 32, "comparison"),
    "latency": latency_code({"first": spec_from_name("resnet-20")}, 32, 2, training=True),
    "difference": difference_code([Side(KEY), Side(OTHER)]),
    "two networks": two_networks_code([Side(KEY), Side(OTHER)], ("first", "it's")),
    "two epochs": two_networks_code([Side(KEY, 3), Side(KEY)], ("first", "second")),
    "seeds": seeds_code([KEY, KEY._replace(weights="ema")]),
    "curves": curves_code({"demo": Path("runs/demo")}, "demo_curves", log=True, smooth=True),
    "efficiency": efficiency_code(Results(RESULTS), "params", log=True, pareto=True),
    "efficiency of runs": efficiency_code(
        Results(RESULTS.assign(origin="measured"), ("runs/demo",)), "images_per_s", log=True, pareto=False
    ),
    "upload": reuse_code(NetworkKey("upload", "abc", weights="ema"), None, "mean_abs_weight", "none", "jet", 1),
}


@pytest.mark.parametrize("name", CODES)
def test_code_is_python_whose_names_exist(name: str) -> None:
    tree = ast.parse(CODES[name].python)
    known = {"print"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), alias.name
                known.add(alias.name)
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called <= known


@pytest.mark.slow
def test_the_code_of_two_measures_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(CODES["agreement of weights"].python, {})
    name = "agreement_total_abs_weight_mean_abs_weight"
    assert Path(f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert "total_abs_weight" in Path(f"{name}.csv").read_text()


@pytest.mark.parametrize("name", [name for name, code in CODES.items() if code.command])
def test_commands_have_options_that_exist(name: str) -> None:
    from typer.main import get_command

    from app.cli.main import app as cli

    _, command, *words = shlex.split(CODES[name].command or "")
    parameters = get_command(cli).commands[command].params  # type: ignore[attr-defined]
    options = {option for parameter in parameters for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_an_archive_has_files_code_and_a_readme_and_is_the_same_each_time() -> None:
    table = pd.DataFrame({"block": [1], "mean_abs_weight": [0.5]})
    items = {
        "figure": Item(table, lambda kind: f"a {kind}".encode(), Code("print(1)", "densenet-lens x")),
        "rows": Item(table, None, Code("print(2)")),
    }
    content = archive(items, "Reuse", "http://localhost/reuse?cell=1.0.1")
    assert archive(items, "Reuse", "http://localhost/reuse?cell=1.0.1") == content
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        assert file.testzip() is None
        names = ["figure.pdf", "figure.svg", "figure.png", "figure.csv", "code/figure.py", "rows.csv", "code/rows.py"]
        names.append("README.md")
        assert file.namelist() == names
        assert file.read("figure.svg") == b"a svg"
        assert file.read("rows.csv") == b"block,mean_abs_weight\n1,0.5\n"
        readme = file.read("README.md").decode()
    for words in ("http://localhost/reuse?cell=1.0.1", "`rows.csv`", "densenet-lens x", "Mean |w| per channel", "nats"):
        assert words in readme


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_a_file_says_what_it_shows_of_which_network_and_how_it_is_made_again(kind: str) -> None:
    named = Named("my net\x1b<1>.pth", load_zoo(DIGITS))
    code = Code("print(1)", "densenet-lens reuse x --measure taylor --scaling none")
    with describing("reuse", code, named):
        content = figure_bytes(Figure((1, 1)), kind)
        picture = picture_bytes(np.zeros((2, 2, 3), np.uint8))
    said = " ".join(_texts(content).values()) if kind == "png" else content.decode("latin-1").replace("\x00", "")
    for part in (named.weights_hash, code.command, f"DenseNet Lens {suite_version()}"):
        assert part in said
    assert _texts(picture)["Title"].startswith("reuse: my net")
    assert named.weights_hash.encode() not in figure_bytes(Figure((1, 1)), kind)


def _texts(picture: bytes) -> dict[str, str]:
    """Return the texts in a PNG file."""
    texts: dict[str, str] = PIL.Image.open(io.BytesIO(picture)).text  # type: ignore[attr-defined]
    return texts


@pytest.mark.parametrize(
    ("name", "stem"),
    [("my net\x1b<1>.pth", "my_net_1_"), ("../../a.b", ".._.._a.b"), ("x" * 200, "x" * 60), ("망.safetensors", "망")],
)
def test_names_of_files_begin_with_the_networks(name: str, stem: str) -> None:
    assert Named(name, load_zoo(DIGITS)).stem == stem


@pytest.mark.slow
def test_a_page_offers_all_its_figures(monkeypatch: pytest.MonkeyPatch, app) -> None:  # type: ignore[no-untyped-def]
    app.run()
    assert not app.exception
    items = app.session_state[downloads._ITEMS]
    figures = ["feature_reuse_mean_abs_weight", "weights", "row", "column"]
    assert [name.split("_block")[0] for name in items] == [*figures, "observations"]
    content = archive(items, "Reuse", "link")
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        pictures = [name for name in file.namelist() if name.endswith(".pdf")]
        assert len(pictures) == 4
        assert all(file.read(name).startswith(b"%PDF") for name in pictures)
