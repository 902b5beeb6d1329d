"""The Claims page: the runs by which overfitting is judged, and the strip that counts verdicts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from analysis.claims.claims import check_claims
from app.dashboard.widgets import downloads
from densenet_core import Checkpoint, create_model, load_checkpoint, save_checkpoint
from densenet_core.training.runs.files import WEIGHTS
from tests.app.pages.pages import shown

OURS, THEIRS = ([Path("runs") / f"{arch}-{seed}" for seed in (0, 1)] for arch in ("densenet-7-2", "resnet-8"))
PAGE = "from app.dashboard.pages import show_page\nshow_page('claims')\n"


@pytest.fixture
def runs(app: AppTest) -> None:
    """Two seeds of a DenseNet, and two of a ResNet that overfits more."""
    for folder, gap in ((OURS[0], 0.10), (OURS[1], 0.11), (THEIRS[0], 0.50), (THEIRS[1], 0.52)):
        arch, _, seed = folder.name.rpartition("-")
        model = create_model(arch, in_channels=1)
        record = {"name": folder.name, "dataset": "Digits", "seed": int(seed)}
        record |= {"test_loss": gap, "train_eval_loss": 0.0}
        folder.mkdir(parents=True)
        save_checkpoint(Checkpoint(model.spec, model.state_dict(), record), folder / WEIGHTS)


def opened(**address: str | list[str]) -> AppTest:
    found = AppTest.from_string(PAGE, default_timeout=240)
    for name, value in (address | {"network": f"run:{OURS[0]}"}).items():
        found.query_params[name] = value
    found.run()
    assert not found.exception and not found.error
    return found


def counted(found: AppTest, table: pd.DataFrame) -> bool:
    """Whether the strip says how many claims have each verdict."""
    words = shown(found)
    return all(f"{number} {verdict}" in words for verdict, number in table["verdict"].value_counts().items())


@pytest.mark.usefixtures("runs")
def test_several_seeds_of_both_sides_decide_the_claim_on_overfitting(tmp_path: Path) -> None:
    found = opened()
    alone = check_claims(load_checkpoint(OURS[0]))
    assert counted(found, alone)
    found.multiselect(key="resnets").set_value(THEIRS).run()
    found.multiselect(key="more_seeds").set_value(OURS[1:]).run()
    assert not found.exception and not found.error
    ours, theirs = ([load_checkpoint(folder) for folder in side] for side in (OURS, THEIRS))
    table = check_claims(ours[0], beside=theirs, seeds=ours[1:])
    own = table.set_index("claim").loc["overfits_less"]
    assert own["verdict"] == "holds" and own["value"] == pytest.approx(0.105 - 0.51)
    assert counted(found, table) and not counted(found, alone)
    assert "mean of 2 seeds" in shown(found)
    assert found.query_params["resnets"] == [str(folder) for folder in THEIRS]
    code = found.session_state[downloads._ITEMS]["claims"].code
    assert code.command == f"densenet-lens claims {' '.join(map(str, OURS))} " + " ".join(
        [*(f"--beside {folder}" for folder in THEIRS), "--table claims.csv"]
    )
    exec(code.python, {})
    assert pd.read_csv("claims.csv")["verdict"].tolist() == table["verdict"].tolist()
    linked = opened(resnets=[str(folder) for folder in THEIRS], more_seeds=str(OURS[1]))
    assert counted(linked, table)


@pytest.mark.usefixtures("runs")
def test_runs_that_differ_in_more_than_the_seed_decide_nothing() -> None:
    found = opened(resnets=[str(THEIRS[0]), str(OURS[1])])
    assert "more than the seed differs from resnet\\-8\\-0 in densenet\\-7\\-2\\-1 \\(arch" in shown(found)
