from __future__ import annotations

import pytest

from analysis.results.results import shipped_results
from analysis.results.tables import architecture_table, latex_table, paper_table
from densenet_core import DenseNetSpec, ResNetSpec


def test_table_1_is_the_papers() -> None:
    table = paper_table(1)
    assert table["Layers"].tolist()[2] == "Dense Block (1)"
    blocks = table[table["Layers"].str.startswith("Dense Block")]
    assert blocks["Output size"].tolist() == ["56 x 56", "28 x 28", "14 x 14", "7 x 7"]
    assert [cell.split("x ")[-1] for cell in blocks["DenseNet-201"]] == ["6", "12", "48", "32"]


def test_table_1_of_networks_that_differ_in_everything() -> None:
    specs = {"a": DenseNetSpec.cifar(40, 12), "b": DenseNetSpec.imagenet("121"), "c": DenseNetSpec((3, 1), 4, 8)}
    table = architecture_table(specs).set_index("Layers")
    assert table.index[-3:].tolist() == ["Dense Block (4)", "Classification Layer", ""]
    assert table.loc["Convolution"].tolist() == [
        "32 x 32 / 112 x 112",
        "3 x 3 conv",
        "7 x 7 conv, stride 2",
        "3 x 3 conv",
    ]
    assert table.loc["Dense Block (1)", ["a", "c"]].tolist() == ["[3 x 3 conv] x 12", "[1 x 1 conv, 3 x 3 conv] x 3"]
    assert table.loc["Dense Block (3)"].tolist() == [
        "8 x 8 / 14 x 14",
        "[3 x 3 conv] x 12",
        "[1 x 1 conv, 3 x 3 conv] x 24",
        "",
    ]
    assert table.loc["Classification Layer", ["a", "b", "c"]].tolist() == [
        f"{side} x {side} global average pool" for side in (8, 7, 16)
    ]
    assert table.iloc[-1, 1:].tolist() == [f"{classes}D fully-connected, softmax" for classes in (10, 1000, 10)]
    assert architecture_table(specs, 64).set_index("Layers").loc["Dense Block (2)", "Output size"] == "32 x 32 / 8 x 8"


def test_table_1_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="networks is empty"):
        architecture_table({})
    with pytest.raises(ValueError, match="network 'x' is a ResNet-20: Table 1 is for DenseNets"):
        architecture_table({"x": ResNetSpec.cifar(20)})


def test_table_2_has_every_method_and_its_two_counts() -> None:
    table = paper_table(2).set_index("Method")
    assert table.loc["DenseNet-BC (L=190, k=40)", "C10+"] == "3.46"
    assert table.loc["DenseNet (L=40, k=12)", "SVHN"] == "1.79"
    assert table.loc["ResNet-1202 with stochastic depth", ["Params", "Params, printed"]].tolist() == ["19.4M", "10.2M"]
    assert table.loc["DenseNet (L=40, k=12)", "Params, printed"] == "1.0M"
    assert len(table) == 21
    assert table.loc["ResNet-110", ["C10", "C10+"]].tolist() == ["", "6.61"]
    assert table.loc["ResNet-110 (reported by the stochastic-depth paper)", "C10+"] == "6.41"
    assert table.loc["ResNet-164 (pre-activation)", ["C10", "C10+"]].tolist() == ["11.26*", "5.46"]


@pytest.mark.slow
def test_own_runs_are_further_rows_and_said_to_be_measured() -> None:
    table = paper_table(2, shipped_results())
    own, digits = table[table["Method"].str.contains("measured")], shipped_results().query("dataset == 'Digits (8x8)'")
    assert len(own) == len(shipped_results().groupby(["model", "epochs"]))
    assert own["Digits (8x8)"].str.contains("±").sum() == digits["model"].nunique()
    assert (own["C10+"] == "").all()


@pytest.mark.slow
def test_latex_is_booktabs_with_its_signs_escaped() -> None:
    text = latex_table(paper_table(3, None))
    assert text.startswith("% \\usepackage{booktabs}\n\\begin{tabular}")
    assert text.count("\\toprule") == text.count("\\midrule") == text.count("\\bottomrule") == 1
    assert "DenseNet-264 & 264 & 33.3M & 22.15 (20.80) & 6.12 (5.29)" in text
    assert "$\\pm$" in latex_table(paper_table(2, shipped_results()))


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(ValueError, match="table 4 is unknown: choose 1, 2 or 3"):
        paper_table(4)


def test_table_3_has_the_papers_form() -> None:
    table = paper_table(3).set_index("Method")
    assert table.columns.tolist() == [
        "Depth",
        "Params",
        "top-1, single crop (10-crop)",
        "top-5, single crop (10-crop)",
    ]
    assert table.loc["DenseNet-121"].tolist() == ["121", "7.98M", "25.02 (23.61)", "7.71 (6.66)"]
    own = (
        shipped_results()
        .query("epochs == 20")
        .head(1)
        .assign(dataset="ImageNet", error_kind="top1_single_crop", error=30.0, model="X")
    )
    row = paper_table(3, own).set_index("Method").loc["X (measured, 20 epochs)"]
    assert row.tolist()[-2:] == ["30.00", ""]
