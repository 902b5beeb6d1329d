"""States with valid checksums and wrong content: each is resumed or refused in one sentence, at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from densenet_core import RunError
from densenet_core.networks.build import build_model
from densenet_core.networks.names import spec_from_name
from densenet_core.networks.network import Network
from densenet_core.training.config import TrainingConfig
from densenet_core.training.runs.files import LAST, METRICS, Metric
from densenet_core.training.runs.saving import Finished, save
from densenet_core.training.runs.state import load_state, restore_weights, resume

State = dict[str, Any]
TWO = torch.zeros(2)
WEIGHT = "features.conv0.weight"
RECORD = {"name": "demo", "arch": "densenet-7-2", "dataset": "d", "seed": 0, "epochs": 1, "epochs_planned": 2}


def new_network() -> tuple[Network, torch.optim.SGD]:
    """A network and its optimizer, after one step."""
    model = build_model(spec_from_name("densenet-7-2", 10, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    model(torch.zeros(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    return model, optimizer


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> State:
    """The state of a run after its first epoch."""
    config = TrainingConfig("densenet-7-2", "digits", "demo", epochs=2, runs_dir=str(tmp_path_factory.mktemp("runs")))
    config.folder.mkdir()
    rows = [Metric(1, "train", 1.0, 90.0, 1.0), Metric(1, "test", 1.0, 90.0, 1.0)]
    model, optimizer = new_network()
    save(config, model, optimizer, rows, RECORD | {"test_error": 90.0, "seconds": 2.0}, Finished(0, [], None, []))
    state: State = torch.load(config.folder / LAST, weights_only=True)
    return state


def load(folder: Path, state: State) -> int:
    """Resume from a state and take one step; return the epoch."""
    torch.save(state, folder / LAST)
    model, optimizer = new_network()
    finished = resume(folder)
    load_state(folder, finished.state, model, optimizer)
    restore_weights(folder, finished.state, model)
    optimizer.step()
    return finished.epoch


def optimizer_with(**changes: Any) -> Callable[[State], State]:
    return lambda state: state | {"optimizer": state["optimizer"] | changes}


def momentum(value: Any) -> Callable[[State], State]:
    return lambda state: optimizer_with(state=state["optimizer"]["state"] | {0: {"momentum_buffer": value}})(state)


def group(**changes: Any) -> Callable[[State], State]:
    return lambda state: optimizer_with(param_groups=[state["optimizer"]["param_groups"][0] | changes])(state)


REFUSED: dict[str, Callable[[State], State]] = {
    "a huge epoch": lambda state: state | {"epoch": 2**70},
    "an epoch without rows": lambda state: state | {"epoch": 5},
    "a tensor among the settings": lambda state: state | {"config": {"arch": TWO}},
    "a set in the record": lambda state: state | {"record": {"seed": {1, 2}}},
    "a tensor in a session": lambda state: state | {"sessions": [{"torch": TWO}]},
    "text among the weights": lambda state: state | {"model": state["model"] | {WEIGHT: "x"}},
    "kept weights of another shape": lambda state: state | {"kept": state["model"] | {WEIGHT: TWO}},
    "kept weights that lack most": lambda state: state | {"kept": {WEIGHT: state["model"][WEIGHT]}},
    "momentum of another shape": momentum(TWO),
    "momentum that is text": momentum("x"),
    "momentum of no parameters": optimizer_with(param_groups=[]),
    "parameter groups that are text": optimizer_with(param_groups="x"),
}
RESUMED: dict[str, Callable[[State], State]] = {
    "as it was": lambda state: state,
    "a rate that is text": group(lr="x", momentum="y", weight_decay=TWO),  # the settings have them
    "no momentum yet": momentum(None),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_wrong_state_is_refused_in_one_sentence(
    change: Callable[[State], State], whole: State, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=LAST) as caught:
        load(tmp_path, change(whole))
    assert "\n" not in str(caught.value) and "delete" not in str(caught.value)


@pytest.mark.parametrize("change", RESUMED.values(), ids=RESUMED)
def test_other_states_are_resumed(change: Callable[[State], State], whole: State, tmp_path: Path) -> None:
    assert load(tmp_path, change(whole)) == 1


def test_an_old_state_of_very_many_epochs_takes_no_memory(whole: State, tmp_path: Path) -> None:
    old = {key: value for key, value in whole.items() if key != "metrics"}
    (tmp_path / METRICS).write_text("epoch,split,loss,error,seconds\n1,train,1.0,1.0,1.0\n")
    assert load(tmp_path, old | {"epoch": 2**50}) == 2**50
