from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.figures import figure_bytes
from analysis.figures.by_number import figure_3, figure_4
from analysis.figures.efficiency.paper import efficiency_figure
from analysis.figures.efficiency.screen import efficiency_screen
from analysis.figures.stage_costs import stage_cost_figure, stages_screen
from analysis.figures.style.families import family_styles
from analysis.figures.training.curves import training_curves_figure, training_curves_screen
from analysis.results.results import mean_over_seeds, published_results, shipped_results
from analysis.results.training_curves import training_curves
from densenet_core import RunError

pytestmark = pytest.mark.slow
DIGITS = shipped_results().query("dataset == 'Digits (8x8)'")


def test_figure_3_has_the_papers_points() -> None:
    figure, table = figure_3()
    params, flops = figure.axes
    texts = {text.get_text() for text in params.texts}
    assert texts == {f"DenseNet-{n}" for n in (121, 169, 201, 264)} | {f"ResNet-{n}" for n in (34, 50, 101, 152)}
    lines = [line for line in flops.get_lines() if len(line.get_xdata()) == 4]
    drawn = {round(x) for line in lines for x in line.get_xdata()}
    assert drawn == {2 * round(m) for m in table["mult_adds"]}
    assert flops.get_xlabel() == "FLOPs (2 x mult_adds)"
    assert "published: Huang et al. 2017, Table 3" in figure.texts[0].get_text()
    assert set(figure_3(with_resnet_18=True)[1]["model"]) - set(table["model"]) == {"ResNet-18"}


def test_figure_4_draws_means_with_their_deviation() -> None:
    figure, table = figure_4("left", DIGITS)
    (ax,) = figure.axes
    means = mean_over_seeds(table)
    lines = [line.get_data() for line in ax.get_lines() if len(line.get_xdata()) == 4]
    drawn = {(round(x), round(y, 6)) for line in lines for x, y in zip(*line, strict=True)}
    assert {(round(p), round(e, 6)) for p, e in zip(means["params"], means["error"], strict=True)} <= drawn
    assert set(table["family"]) == {"DenseNet", "DenseNet-B", "DenseNet-C", "DenseNet-BC"}
    assert "3 seeds each, 20 epochs; bars" in figure.texts[0].get_text()
    assert set(figure_4("middle", shipped_results())[1]["family"]) == {
        "DenseNet-BC",
        "ResNet",
        "ResNet (pre-activation)",
    }


def test_figure_4_without_such_networks_says_so() -> None:
    only = shipped_results()
    with pytest.raises(ValueError, match="the results have no DenseNet, no DenseNet-B"):
        figure_4("left", only[only["family"] == "ResNet"])
    with pytest.raises(ValueError, match="panel 'right'"):
        figure_4("right", only)
    with pytest.raises(ValueError, match="results must be of one dataset: they have C10"):
        efficiency_figure(published_results())


@pytest.mark.parametrize("file_format", ["pdf", "svg", "png"])
def test_the_same_input_produces_the_same_bytes(file_format: str) -> None:
    first, second = (figure_bytes(figure_4("middle", shipped_results())[0], file_format) for _ in range(2))
    assert first == second


def test_a_family_has_one_look_everywhere() -> None:
    few, many = family_styles(["ResNet"]), family_styles(published_results()["family"])
    assert few["ResNet"] == many["ResNet"]
    assert len({many[f] for f in ("DenseNet-BC", "ResNet", "DenseNet", "ResNet (pre-activation)", "Wide ResNet")}) == 5


def test_the_screen_shows_published_hollow_and_measured_filled() -> None:
    rows = pd.concat([published_results().query("dataset == 'C10+' and error_kind == 'test'"), shipped_results()])
    figure = efficiency_screen(mean_over_seeds(rows))
    markers = [trace for trace in figure.data if trace.mode and "markers" in trace.mode]
    assert sum(len(trace.x) for trace in markers) == len(mean_over_seeds(rows).dropna(subset=["params"]))
    for trace in markers:
        assert (trace.marker.color == "white") == trace.name.endswith("published")
    front = next(trace for trace in figure.data if trace.name == "Pareto front")
    assert list(front.y) == sorted(front.y, reverse=True)


def test_a_few_large_errors_do_not_flatten_the_others() -> None:
    few = DIGITS.assign(error=[20.0, *[1.0] * (len(DIGITS) - 1)])
    assert efficiency_screen(mean_over_seeds(few)).layout.yaxis.type == "log"
    assert efficiency_figure(few).axes[0].get_yscale() == "log"
    assert efficiency_screen(mean_over_seeds(few.assign(error=5.0))).layout.yaxis.type is None


def test_runs_of_one_network_are_told_apart_by_their_epochs() -> None:
    rows = DIGITS.head(2).assign(model="DenseNet (L=10, k=4)", arch="densenet-10-4", family="DenseNet", seed=0)
    shown = efficiency_screen(mean_over_seeds(rows.assign(epochs=[2, 4], error=[3.0, 1.0])), pareto=False).data[0]
    assert [row[0] for row in shown.customdata] == [f"DenseNet (L=10, k=4), {n} epochs" for n in (2, 4)]
    of_seeds = mean_over_seeds(rows.assign(epochs=4, seed=[0, 1], error=[3.0, 1.0]))
    (row,) = efficiency_screen(of_seeds, pareto=False).data[0].customdata
    assert row[:2] == ["DenseNet (L=10, k=4)", " ± 1.41 (mean ± SD, n = 2 seeds)"]


def write_metrics(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "metrics.csv").write_text(text)
    return folder


WHOLE = "epoch,split,loss,error,seconds\n1,train,1.5,50.0,3.0\n1,test,1.2,40.0,1.0\n2,train,1.0,30.0,3.0\n"


def test_training_curves_of_a_cut_file_use_the_whole_rows(tmp_path: Path) -> None:
    runs = {"a": write_metrics(tmp_path / "a", WHOLE), "b": write_metrics(tmp_path / "b", WHOLE + "2,test,0.9,2")}
    curves = training_curves(runs)
    assert curves.groupby("network").size().tolist() == [3, 3]
    assert curves.attrs["skipped"] == ["b: 1 damaged line(s) of metrics.csv were skipped"]
    assert curves[curves["network"] == "a"]["error"].tolist() == [50.0, 40.0, 30.0]
    with pytest.raises(RunError, match="can't read"):
        training_curves({"c": tmp_path})


def test_a_last_number_that_may_have_lost_digits_is_not_used(tmp_path: Path) -> None:
    folder = write_metrics(tmp_path / "a", WHOLE + "2,test,0.9,25.0,1.2")  # perhaps 1.23
    assert len(training_curves({"a": folder})) == 3


def test_training_curves_are_drawn_on_twin_axes(tmp_path: Path) -> None:
    curves = training_curves({name: write_metrics(tmp_path / name, WHOLE) for name in ("a", "b")})
    left, right = training_curves_figure(curves).axes
    assert [line.get_label() for line in left.get_lines()] == ["test error: a", "test error: b"]
    assert list(right.get_lines()[0].get_ydata()) == [1.5, 1.0]
    assert len(training_curves_screen(curves).data) == 4
    with pytest.raises(ValueError, match="curves of 1 to 6 networks can be drawn, not of 0"):
        training_curves_figure(curves.head(0))


def test_smoothed_and_logarithmic_curves_are_the_same_on_the_screen_and_on_paper(tmp_path: Path) -> None:
    curves = training_curves({"a": write_metrics(tmp_path / "a", WHOLE + "2,test,0.9,20.0,1.2\n")})
    left = training_curves_figure(curves, log=True, smooth=True).axes[0]
    screen = training_curves_screen(curves, log=True, smooth=True)
    before, last = curves.loc[curves["split"] == "test", "error"]
    expected = [before, (0.6 * before + last) / 1.6]  # the earlier epoch counts 0.6 times as much
    assert list(left.get_lines()[0].get_ydata()) == pytest.approx(expected)
    assert list(screen.data[0].y) == pytest.approx(expected)
    assert left.get_yscale() == screen.layout.yaxis.type == "log"
    assert training_curves_screen(curves).layout.yaxis.type is None


def test_stages_are_drawn_for_each_network() -> None:
    from analysis.architecture.comparison import compare_stages
    from densenet_core.networks.names import spec_from_name

    stages = compare_stages({"a": spec_from_name("densenet-bc-40-12"), "b": spec_from_name("resnet-20")})
    assert len(stage_cost_figure(stages).axes) == 4
    for quantity in ("params", "mult_adds"):
        screen = stages_screen(stages, quantity)
        assert sum(sum(bar.x) for bar in screen.data) == stages[quantity].sum()


def test_every_family_has_a_look_of_its_own() -> None:
    families = set(published_results()["family"]) | set(shipped_results()["family"]) | {"Plain network", "yours"}
    assert len(families) > 10  # more than there are colours
    assert len(set(family_styles(families).values())) == len(families)


def test_figure_4_middle_has_the_published_points_beside_the_measured() -> None:
    figure, table = figure_4("middle", DIGITS)
    digits, c10 = figure.axes
    assert [ax.texts[0].get_text() for ax in figure.axes] == ["Digits (8x8)", "C10+"]
    published = table[table["dataset"] == "C10+"]
    assert set(published["source"]) == {"Huang et al. 2017, Table 2", "osmr/imgclsmob"}
    drawn = {(round(x), y) for line in c10.get_lines() for x, y in zip(*line.get_data(), strict=True)}
    assert drawn == {(round(x), y) for x, y in zip(published["params"], published["error"], strict=True)}
    assert all(line.get_markerfacecolor() == "white" for line in c10.get_lines() if len(line.get_xdata()))
    assert all(line.get_markerfacecolor() != "white" for line in digits.get_lines() if len(line.get_xdata()))


def test_runs_on_the_papers_data_share_its_panel() -> None:
    figure, table = figure_4("middle", DIGITS.assign(dataset="C10+"))
    assert len(figure.axes) == 1
    assert set(table["origin"]) == {"measured", "published"}
    words = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert words[-3:] == ["measured", "Huang et al. 2017, Table 2", "osmr/imgclsmob"]


def test_names_at_the_right_end_are_not_cut() -> None:
    rows = mean_over_seeds(shipped_results().query("dataset == 'CIFAR-10 (JPEG)+'"))
    places = {
        name: place
        for trace in efficiency_screen(rows).data
        if trace.text is not None
        for name, place in zip(trace.text, trace.textposition, strict=True)
    }
    assert places.pop("DenseNet (L=40, k=12)") == "bottom left"
    assert set(places.values()) == {"top right"}
