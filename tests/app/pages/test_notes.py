"""The Notes page in every language: its controls move its numbers, and the numbers are the analysis's."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.architecture.bottlenecks import design_costs
from analysis.architecture.cost import count_cost, total_cost
from analysis.architecture.preservation import compare_preservation
from analysis.architecture.short_paths import direct_connections, expected_training_cost
from analysis.results.efficiency import count
from app.dashboard.language import KEY, LANGUAGES, catalogue
from app.dashboard.views.notes import SECTIONS
from app.dashboard.views.notes.connectivity import digits_as_maps
from app.dashboard.views.notes.short_paths import UNTRAINED
from densenet_core import DenseNetSpec, ResNetSpec
from densenet_core.networks.names import published_spec
from densenet_core.training.config import TrainingConfig
from densenet_core.training.loop import train

pytestmark = pytest.mark.slow
PAGE = "from app.dashboard.views import notes\nnotes.show()\n"


@pytest.fixture(params=LANGUAGES)
def words(request: pytest.FixtureRequest) -> dict[str, str]:
    return catalogue(request.param) | {"language": request.param}


@pytest.fixture
def app(words: dict[str, str]) -> AppTest:
    """The page, which was not drawn yet."""
    app = AppTest.from_string(PAGE, default_timeout=240)
    app.session_state[KEY] = words["language"]
    return app


def section(app: AppTest, name: str) -> AppTest:
    """The page at a section, by its address."""
    app.query_params["section"] = name
    app.run()
    assert not app.exception
    return app


def metrics(app: AppTest) -> dict[str, str]:
    assert not app.exception
    return {metric.label: metric.value for metric in app.metric}


def markdown(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(str(part.value) for part in [*app.markdown, *app.caption])


def chart(app: AppTest, place: int) -> dict[str, object]:
    return json.loads(app.get("plotly_chart")[place].proto.spec)


def test_one_section_is_shown_and_the_next_is_a_click_away(app: AppTest, words: dict[str, str]) -> None:
    assert not app.run().exception
    names = list(SECTIONS)
    assert app.sidebar.radio(key="section").options == [words[f"notes.{name}.title"] for name in names]
    for place, name in enumerate(names):
        assert [part.value for part in app.main.subheader] == [words[f"notes.{name}.title"]]
        assert "{" not in markdown(app)
        assert ("section" in app.query_params) == bool(place)
        if place + 1 < len(names):
            app.button(key="notes_arrow_forward").click().run()
    assert app.query_params["section"] in ("training", ["training"])  # by version


def test_a_link_opens_its_section(app: AppTest, words: dict[str, str]) -> None:
    assert section(app, "growth").main.subheader[0].value == words["notes.growth.title"]


def test_connections_are_counted(app: AppTest, words: dict[str, str]) -> None:
    app.run()
    for layers in (1, 7, 40):
        app.slider(key="notes_layers").set_value(layers).run()
        found = metrics(app)
        assert found[words["notes.connections.chain"]] == f"{layers:,}"
        assert found[words["notes.connections.dense"]] == f"{layers * (layers + 1) // 2:,}"
        assert found[words["notes.connections.next"]] == f"{layers + 1:,}"


def test_what_is_explained_has_the_networks_numbers(app: AppTest, words: dict[str, str]) -> None:
    app.run()
    seen = markdown(app).replace("\\", "")
    for name in ("supervision", "training"):
        app.sidebar.radio(key="section").set_value(name).run()
        seen += "\n" + markdown(app).replace("\\", "")
    blocks = {"blocks": 3, "layers": 12, "per_block": 78, "all": 234, "total": 36, "single": 666}  # n(n+1)/2 by hand
    assert words["notes.connections.blocks"].format(network="DenseNet (L=40, k=12)", **blocks).strip() in seen
    assert words["notes.short_paths.supervision_text"].format(farthest=3).strip() in seen  # two transitions, classifier
    assert words["notes.training.momentum_text"].format(momentum=0.9, factor=10, dropout=0.2).strip() in seen
    app.sidebar.radio(key="section").set_value("compression").run()
    sizes = next(table.value for table in app.table if words["notes.compression.unpadded"] in table.value)
    assert sizes.loc["6"].tolist() == ["4", "6", "3"]  # as text: Streamlit hides an index of numbers


def test_one_layer_is_followed(app: AppTest, words: dict[str, str]) -> None:
    app.run()
    app.selectbox(key="notes_follow").select(3).run()
    assert words["notes.connections.marked"].format(sources=3, maps=14) in markdown(app)
    app.slider(key="notes_layers").set_value(2).run()  # which has no layer 3 to follow but what follows
    assert not app.exception


def test_the_identity_test_is_the_analysiss(app: AppTest, words: dict[str, str]) -> None:
    section(app, "preservation")
    app.slider(key="notes_kept_layers").set_value(2).run()
    app.slider(key="notes_digit").set_value(8).run()
    app.slider(key="notes_seed").set_value(5).run()
    found = metrics(app)
    table = compare_preservation(digits_as_maps(8, 4), 2, seed=5).table.set_index(["operation", "layer"])
    for operation in ("concatenation", "summation"):
        share = table.loc[(operation, 0), "identical_share"]
        assert found[words[f"notes.preservation.{operation}"]] == f"{share:.0%}"
    change = table.loc[("summation", 0), "max_abs_difference"]
    assert found[words["notes.preservation.change"]] == f"{change:.3g}"
    assert found[words["notes.preservation.concatenation"]] == "100%"
    assert found[words["notes.preservation.summation"]] == "0%"


def test_the_digits_are_those_of_the_test_set() -> None:
    digits = digits_as_maps(8, 4)
    assert digits.shape == (1, 4, 8, 8)
    assert (digits[0, 2] == digits_as_maps(0, 1)[0, 0]).all()  # after 9 comes 0


def test_growth_has_the_notes_example_and_moves(app: AppTest, words: dict[str, str]) -> None:
    section(app, "growth")
    result = words["notes.growth.result"]
    assert result.format(init=6, rate=4, layers=4, reads=18, leaves=22) in markdown(app)
    app.slider(key="notes_rate").set_value(12).run()
    app.slider(key="notes_init").set_value(24).run()
    app.slider(key="notes_growth_layers").set_value(16).run()
    assert result.format(init=24, rate=12, layers=16, reads=204, leaves=216) in markdown(app)


def test_bottlenecks_move_with_every_slider(app: AppTest, words: dict[str, str]) -> None:
    section(app, "bottleneck")
    values = {"notes_maps": 128, "notes_bottleneck_rate": 16, "notes_width": 2, "notes_size": 7}
    for key, value in values.items():
        app.slider(key=key).set_value(value).run()
    params = design_costs(128, 16, 2, 7).groupby("design")["params"].sum()
    own, other = (params["DenseNet-B"] / params[design] for design in ("DenseNet", "ResNet, bottleneck"))
    assert words["notes.bottleneck.result"].format(own=own, other=other) in markdown(app)
    figure = chart(app, 0)
    drawn = [trace for trace in figure["data"] if trace["type"] == "scatter"]
    texts = [text.strip() for text in drawn[0]["text"]]
    unit, size = {"K": ("K", 1e3), "M": ("M", 1e6)}[texts[0][-1]]
    assert [float(text.removesuffix(unit)) * size for text in texts] == pytest.approx(
        [params[design] for design in drawn[0]["y"]], rel=0.006
    )
    assert {text[-1] for text in [*texts, *figure["layout"]["xaxis"]["ticktext"][1:]]} == {unit}  # one unit for all


def test_compression_moves_the_costs(app: AppTest, words: dict[str, str]) -> None:
    section(app, "compression")
    app.slider(key="notes_theta densenet-bc-100-12").set_value(0.25).run()
    spec = DenseNetSpec((16,) * 3, 12, 24, compression=0.25)
    assert metrics(app)[words["notes.compression.params"]] == count(total_cost(count_cost(spec))["params"])
    app.selectbox(key="notes_network").select("densenet121").run()
    cost = total_cost(count_cost(published_spec("densenet121")))
    assert metrics(app)[words["notes.compression.mult_adds"]] == count(cost["mult_adds"])


def test_an_image_too_small_shows_the_error(app: AppTest) -> None:
    section(app, "compression")
    app.selectbox(key="notes_network").select("densenet121").run()
    app.number_input(key="notes_image imagenet").set_value(8).run()
    assert not app.exception
    assert "the smallest that works is 29" in app.error[0].value.replace("\\", "")


def test_stochastic_depth_beside_a_densenet(app: AppTest, words: dict[str, str]) -> None:
    section(app, "stochastic")
    app.slider(key="notes_paths_blocks").set_value(9).run()
    app.slider(key="notes_survival").set_value(0.8).run()
    found = metrics(app)
    spec = ResNetSpec.stochastic(56, 0.8)
    expected = expected_training_cost(spec)
    assert found[words["notes.short_paths.saved"]] == f"{expected['saved']:.0%}"
    direct = direct_connections(spec)["probability"]
    assert found[words["notes.short_paths.direct"]] == f"{direct.mean():.0%}"
    dense, residual = chart(app, 0)["data"], chart(app, 1)["data"]
    assert len(dense) == len(residual) == 3
    assert "**DenseNet \\(L=31, k=12\\)**" in markdown(app)
    app.slider(key="notes_survival").set_value(1.0).run()  # a plain ResNet
    assert metrics(app)[words["notes.short_paths.saved"]] == "0%"


def test_fractal_paths_are_counted(app: AppTest, words: dict[str, str]) -> None:
    section(app, "fractal")
    app.slider(key="notes_columns").set_value(2).run()
    values = {"columns": 2, "rows": 2, "paths": 2, "shortest": 1, "longest": 2}
    assert words["notes.short_paths.fractal_result"].format(**values) in markdown(app)


def test_gates_of_a_trained_highway_network(
    tmp_path: Path, words: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["streamlit"])
    app = AppTest.from_string(PAGE, default_timeout=240)
    app.session_state[KEY] = words["language"]
    app.query_params["section"] = "highway"
    app.run()
    assert "densenet-lens train --arch highway-" in markdown(app)
    untrained = chart(app, 0)["data"]
    assert app.selectbox(key="notes_highway").value == UNTRAINED
    assert metrics(app)[words["notes.short_paths.gate_start"]] == f"{1 / (1 + math.exp(2)):.0%}"  # a bias of -2
    train(TrainingConfig("highway-7-4", "digits", epochs=1, name="carries"))
    app = AppTest.from_string(PAGE, default_timeout=240)
    app.session_state[KEY] = words["language"]
    app.query_params["section"] = "highway"
    app.run()
    assert not app.exception
    assert not app.error
    assert app.selectbox(key="notes_highway").value.name == "carries"
    assert len(app.get("plotly_chart")) == 2
    assert chart(app, 0)["data"] != untrained


def test_table_1_of_any_densenets_and_of_none(app: AppTest, words: dict[str, str]) -> None:
    section(app, "table_1")
    networks = app.multiselect(key="notes_table_1")
    networks.set_value(["densenet-40-12"]).run()
    assert not app.exception
    tables = [table.value for table in app.dataframe if "Layers" in table.value]
    assert "[3 x 3 conv] x 12" in tables[0]["densenet-40-12"].tolist()
    app.multiselect(key="notes_table_1").set_value(["densenet-40-12", "densenet121"]).run()
    app.selectbox(key="notes_table_1_network").set_value("densenet121").run()
    on_phone = app.table[-1].value
    assert on_phone.columns.tolist() == ["densenet121"]
    assert "" not in on_phone["densenet121"].tolist()
    app.multiselect(key="notes_table_1").set_value([]).run()
    assert app.info[0].value == words["notes.table_1.none"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("resnet-20", "Network 'resnet-20' is a ResNet-20"), ("densenet-41-12", "Depth 41 is not 3*n+4")],
)
def test_names_of_other_families_show_the_error(name: str, message: str) -> None:
    app = AppTest.from_string(PAGE, default_timeout=240)
    app.session_state["notes_table_1"] = [name]
    app.query_params["section"] = "table_1"
    app.run()
    assert not app.exception
    assert message in app.error[0].value.replace("\\", "")


def test_recipes(app: AppTest, words: dict[str, str]) -> None:
    section(app, "training")
    for recipe, epochs in {"cifar": 300, "svhn": 40, "imagenet": 90, "fast": 30}.items():
        app.segmented_control(key="notes_recipe").set_value(recipe).run()
        assert not app.exception
        facts = app.table[-1].value
        assert facts.loc[words["notes.training.epochs"]].tolist() == [str(epochs)], recipe
