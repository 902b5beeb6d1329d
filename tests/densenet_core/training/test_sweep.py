from __future__ import annotations

from pathlib import Path

import pytest

from densenet_core import RunError
from densenet_core.training.sweep import load_sweep, run_sweep

ROOT = Path(__file__).parents[3]
GRID = 'archs = ["densenet-7-2", "resnet-8"]\nseeds = [0, 1]\n[training]\ndataset = "digits"\nepochs = 1\n'


def write(folder: Path, text: str) -> Path:
    (folder / "grid.toml").write_text(text, encoding="utf-8")
    return folder / "grid.toml"


@pytest.mark.slow
def test_a_grid_is_every_network_with_every_seed_and_a_second_call_trains_none(tmp_path: Path) -> None:
    configs = load_sweep(write(tmp_path, GRID), str(tmp_path))
    assert [(c.arch, c.seed) for c in configs] == [
        ("densenet-7-2", 0),
        ("densenet-7-2", 1),
        ("resnet-8", 0),
        ("resnet-8", 1),
    ]
    folders = run_sweep(configs, show_progress=False)
    stamps = [(folder / "last.ckpt").stat().st_mtime_ns for folder in folders]
    assert len({folder.name for folder in folders}) == 4
    run_sweep(configs, show_progress=False)
    assert [(folder / "last.ckpt").stat().st_mtime_ns for folder in folders] == stamps


@pytest.mark.slow
def test_a_sweep_that_stopped_goes_on(tmp_path: Path) -> None:
    configs = load_sweep(write(tmp_path, GRID), str(tmp_path))

    def stop(folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(configs, show_progress=False, on_run=stop)
    done: list[Path] = []
    first = tmp_path / "grid" / "densenet-7-2-seed0" / "last.ckpt"
    stamp = first.stat().st_mtime_ns
    run_sweep(configs, show_progress=False, on_run=done.append)
    assert len(done) == 4
    assert first.stat().st_mtime_ns == stamp


def test_the_shipped_sweep_is_the_one_whose_results_ship() -> None:
    from analysis.results.results import shipped_results

    configs = load_sweep(ROOT / "sweeps" / "digits.toml")
    shipped = shipped_results().query("dataset == 'Digits (8x8)'")
    assert {(c.arch, c.seed) for c in configs} == set(zip(shipped["arch"], shipped["seed"], strict=True))
    assert set(shipped["epochs"]) == {configs[0].epochs}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("archs = 3", "archs must be a list of one or more different entries"),
        (GRID.replace("[0, 1]", "[0, 0]"), "seeds must be a list of one or more different entries"),
        ("epochs = 1\n" + GRID, r"unknown entry 'epochs': choose from archs, seeds and \[training\]"),
        ('archs = ["resnet-8"]', r"\[training\] must name the dataset"),
        ("archs = ", r"grid\.toml' is not a TOML file"),
        (GRID.replace('"resnet-8"', "8"), "archs must be names of networks, in quotes"),
        (GRID + 'drop_rate = "x"\n', "drop_rate 'x' must be a number"),
        (GRID + "drop_rate = 1\n", "drop_rate 1.0 must be at least 0 and below 1|drop_rate 1 must be"),
        (GRID + 'recipe = "nosuch"\n', "recipe 'nosuch' is not one of cifar, svhn"),
        (GRID.replace("resnet-8", "resnet-9"), "depth 9 is not"),
        (GRID + "epoch = 3\n", r"unknown setting 'epoch' in \[training\]: choose from augment, batch_size"),
        (GRID.replace("epochs = 1", "epochs = 0"), "epochs 0 must be an integer"),
        (GRID.replace("epochs = 1", 'epochs = "many"'), "epochs 'many' must be an integer"),
        (GRID.replace("[0, 1]", str(list(range(5001)))), "10,002 runs are more than 10,000"),
        ("archs = " + "[" * 100_000, "nested too deeply|not a TOML file"),
        ("# " + "x" * 2**21, "longer than 1,048,576 bytes"),
        (GRID + "milestones = 3\n", "milestones 3 must be up to 1000 numbers"),
        (GRID + f"milestones = {[0.5] * 1001}\n", r"milestones \(0.5, .*\.\.\. must be up to 1000 numbers"),
        (GRID + f"dataset_title = '{'x' * 5000}'\n", "dataset_title 'x.*x... must be text of up to 4096 characters"),
        (GRID + "workers = 1_000_000\n", "workers 1000000 must be an integer, from 0 to 1024"),
        (GRID.replace("resnet-8", f"resnet-{'9' * 5000}"), "grid.toml: "),
        (GRID.replace("resnet-8", "densenet-4000000000000-12"), "grid.toml: "),
        (GRID.replace("[0, 1]", "[1e400]"), "seed inf must be an integer"),
        (GRID.replace("[0, 1]", "[1979-05-27]"), "seed datetime.date.* must be an integer"),
        (GRID.replace("resnet-8", "../../x"), "grid.toml: "),
    ],
)
def test_a_wrong_grid_says_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=message):
        load_sweep(write(tmp_path, text))


def test_a_recipe_gives_the_settings_that_are_not_in_the_file(tmp_path: Path) -> None:
    fast = load_sweep(write(tmp_path, "\ufeff" + GRID + 'recipe = "fast"\n'))  # as Windows' editors write UTF-8
    assert {(c.recipe, c.schedule, c.learning_rate, c.epochs) for c in fast} == {("fast", "one_cycle", 0.2, 1)}
    assert {(c.recipe, c.schedule, c.epochs) for c in load_sweep(write(tmp_path, GRID))} == {("cifar", "step", 1)}


def test_no_grid_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="can't read"):
        load_sweep(tmp_path / "nothing.toml")
