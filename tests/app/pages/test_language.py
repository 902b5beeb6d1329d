"""The catalogues: the same keys and placeholders in every language, all of them used, and none missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from analysis import connection_weights
from analysis.claims.claims import ON_IMAGES
from analysis.claims.figure_5 import FIGURE_5
from analysis.claims.published import PUBLISHED, published_claims
from analysis.figures.efficiency import ERROR_TITLES
from analysis.figures.gradient_flow import QUANTITIES
from analysis.figures.pruning import X_TITLES
from analysis.figures.style.heatmap import KIND_TITLES
from analysis.results.efficiency import Parity
from analysis.reuse.measures import MEASURE_TITLES, MEASURES
from analysis.reuse.scaling import SCALING_TITLES, SCALINGS
from app.dashboard import language
from app.dashboard.language import FOLDER, LANGUAGES, PHRASES, catalogue, from_analysis, translate
from app.dashboard.widgets.tables import WORDS
from densenet_core import load_zoo, zoo_names

ROOT = Path(__file__).parents[3]
# Digits that are names, not results: of tables and figures, kernels, sections.
NAMES = re.compile(r"(Table|Figure|표|그림) \d|\d×\d")


def placeholders(text: str) -> set[str]:
    return {name or "" for _, name, _, _ in Formatter().parse(text) if name is not None}


def keys_used() -> Iterator[re.Pattern[str]]:
    """Every key given to ``t`` and table given to ``names`` in the dashboard; an f-string's values may be anything."""
    for file in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "t":
                yield from patterns(node.args[0])
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "names":
                yield re.compile(re.escape(ast.literal_eval(node.args[0])) + r"\.[^.]+")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "column_labels":
                yield re.compile(r"(columns|measures)\.[^.]+")


def patterns(key: ast.expr) -> Iterator[re.Pattern[str]]:
    if isinstance(key, ast.IfExp):
        yield from patterns(key.body)
        yield from patterns(key.orelse)
        return
    parts = key.values if isinstance(key, ast.JoinedStr) else [key]
    yield re.compile("".join(re.escape(part.value) if isinstance(part, ast.Constant) else "[^.]+" for part in parts))


def phrases_of_the_analysis() -> set[str]:
    """Every string of the analysis, an f-string's values as "{}"."""
    found = set()
    for file in (ROOT / "analysis").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.add("".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values))
    return found


def test_every_language_has_a_catalogue_and_no_other_lies_there() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(LANGUAGES)


@pytest.mark.parametrize("other", [name for name in LANGUAGES if name != "en"])
def test_languages_have_the_same_keys_and_placeholders(other: str) -> None:
    assert list(catalogue(other)) == list(catalogue("en"))
    for key, text in catalogue("en").items():
        there = catalogue(other)[key]
        if key.startswith(PHRASES):
            assert sorted(re.findall(r"%?\{[^}]*\}", there)) == sorted(re.findall(r"%?\{[^}]*\}", text)), key
        else:
            assert placeholders(there) == placeholders(text), key


def test_every_key_that_is_used_is_there_and_every_key_there_is_used() -> None:
    keys = [key for key in catalogue("en") if not key.startswith("analysis.")]
    used = [*keys_used(), *(re.compile(rf"{column}s\.[^.]+") for column in WORDS)]
    for pattern in used:
        assert any(pattern.fullmatch(key) for key in keys), pattern.pattern
    for key in keys:
        assert any(pattern.fullmatch(key) for pattern in used), key


def test_what_is_translated_of_the_analysis_is_what_it_says() -> None:
    phrases = phrases_of_the_analysis()
    for key, text in catalogue("en").items():
        if key.startswith(PHRASES):
            assert text in phrases, (key, text)


def test_a_phrase_of_the_analysis_has_one_key() -> None:
    """Two keys with the same English words could not be told apart in a figure."""
    phrases = [text for key, text in catalogue("en").items() if key.startswith(PHRASES)]
    assert sorted(phrases) == sorted(set(phrases))


def test_a_title_is_said_once() -> None:
    """A widget's options have the titles that figures and the command line show."""
    words = catalogue("en")
    assert {key: words[f"measures.{key}"] for key in MEASURES} == {key: MEASURE_TITLES[key] for key in MEASURES}
    assert {key: words[f"scalings.{key}"] for key in SCALINGS} == SCALING_TITLES
    assert {key: words[f"target_kinds.{key}"] for key in KIND_TITLES} == KIND_TITLES
    assert {key: words[f"pruning_axes.{key}"] for key in X_TITLES} == X_TITLES
    assert {key: words[f"gradient_quantities.{key}"] for key in QUANTITIES} == QUANTITIES
    assert {key: words[f"error_kinds.{key}"] for key in ERROR_TITLES} == ERROR_TITLES
    assert not [key for key in MEASURES if f"columns.{key}" in words]
    claims = (*FIGURE_5, *ON_IMAGES, *PUBLISHED)
    assert catalogue_table("claim_statements") == {claim.name: claim.statement for claim in claims}
    assert catalogue_table("claim_statistics") == {claim.name: claim.statistic for claim in claims}


def catalogue_table(table: str) -> dict[str, str]:
    words = catalogue("en").items()
    return {key.removeprefix(f"{table}."): text for key, text in words if key.startswith(f"{table}.")}


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_number_is_typed_into_the_notes(name: str) -> None:
    for key, text in catalogue(name).items():
        if key.startswith("notes."):
            words = NAMES.sub("", re.sub(r"\{[^}]*\}", "", text))
            assert not re.search(r"\d", words), (key, text)


def test_korean_emphasis_is_closed_where_markdown_sees_it() -> None:
    """Markdown does not close emphasis between a bracket or a full stop and a letter, as of a particle."""
    for key, text in catalogue("ko").items():
        assert not re.search(r"[^\w\s*]\*+[가-힣]", re.sub(r"\{[^}]*\}", "0", text)), (key, text)


def test_korean_is_korean() -> None:
    for key, text in catalogue("ko").items():
        words = re.sub(r"%?\{[^}]*\}|<[^>]*>|`[^`]*`|mult_adds", "", text)
        if re.search(r"[a-z]{4}", words):
            assert re.search(r"[가-힣]", words), (key, text)


def test_a_figures_words_are_translated_and_its_numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = go.Figure(go.Scatter(x=[1], y=[2], name="no such words 7", customdata=["transition"]))
    figure.update_xaxes(title="learning rate").add_annotation(text="Dense block 12")
    assert translate(figure) is figure
    monkeypatch.setattr(language, "language", lambda: "ko")
    korean = translate(figure)
    assert korean.layout.xaxis.title.text == "학습률"
    assert korean.layout.annotations[0].text == "밀집 블록 12"
    assert korean.data[0].name == "no such words 7"
    assert list(korean.data[0].customdata) == ["transition"]  # data, not words
    assert from_analysis("%{x} of {}") == "%{x} of {}"


def test_phrases_of_phrases_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "language", lambda: "ko")
    assert from_analysis("total |w| / block's maximum") == "|w|의 합 / 블록의 최댓값"
    assert from_analysis("DenseNet (L=40, k=12), untrained") == "DenseNet (L=40, k=12), 학습 전"
    assert from_analysis(" epoch ") == " 에폭 "
    found = Parity("DenseNet-BC", "ResNet-101", 22.44, "params", 40.0, 20.0)
    assert (
        from_analysis(str(found))
        == "ResNet-101의 오류율 22.44 %에 이르는 데 DenseNet-BC에는 2배 적은 파라미터 수만 필요합니다"
    )


def test_the_efficiency_claims_are_korean_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "language", lambda: "ko")
    for text in published_claims()["reason"]:
        assert re.search(r"[가-힣]", from_analysis(text)), text
        assert not re.search(r"\b(the|is|needs|against|with)\b", from_analysis(text)), from_analysis(text)


def test_a_tables_columns_are_named_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    table = connection_weights(load_zoo(zoo_names()[0]))
    for name in LANGUAGES:
        monkeypatch.setattr(language, "language", lambda name=name: name)
        assert set(language.column_labels(table.columns)) == set(table.columns)
    assert language.column_labels(["no such column"]) == {}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["streamlit"])
    return AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=240)


@pytest.mark.slow
def test_the_switch_in_the_sidebar_changes_the_language(app: AppTest) -> None:
    app.run()
    assert not app.exception
    assert app.sidebar.segmented_control(key=language.KEY).value == "en"
    app.segmented_control(key=language.KEY).set_value("ko").run()
    assert not app.exception
    assert app.session_state[language.KEY] == "ko"


@pytest.mark.slow
def test_the_address_says_the_language(app: AppTest) -> None:
    app.query_params[language.KEY] = "ko"
    app.run()
    assert app.session_state[language.KEY] == "ko"
    app.segmented_control(key=language.KEY).set_value("en").run()
    assert language.KEY not in app.query_params
    app.segmented_control(key=language.KEY).set_value("ko").run()
    assert app.query_params[language.KEY] in ("ko", ["ko"])  # by version


@pytest.mark.slow
def test_a_language_that_is_none_is_english(app: AppTest) -> None:
    app.query_params[language.KEY] = "<b>"
    app.run()
    assert not app.exception
    assert app.session_state[language.KEY] == "en"


def test_spinners_speak_the_sessions_language() -> None:
    """Streamlit's own, of a cached function, would say the same in every session."""
    for file in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "show_spinner":
                assert ast.literal_eval(node.value) is False, file
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("cache_data"):
                assert "show_spinner" in {keyword.arg for keyword in node.keywords}, file


VIEWS = (
    "feature_reuse",
    "agreement",
    "claims",
    "gradient_flow",
    "pruning",
    "efficiency",
    "comparison",
    "training",
    "prediction",
)


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_every_page_is_shown_in_korean(
    view: str, app: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    app = AppTest.from_string(f"from app.dashboard.views import {view}\n{view}.show()\n", default_timeout=240)
    app.session_state[language.KEY] = "ko"
    app.session_state["images_number"] = 20
    app.session_state["zoo_name"] = "densenet-40-12-digits"
    app.run()
    assert not app.exception
    assert not app.error
    assert re.search(r"[가-힣]", app.subheader[0].value)
    labels = [*app.selectbox, *app.number_input, *app.metric, *app.toggle, *app.multiselect, *app.text_input]
    for widget in labels:
        assert re.search(r"[가-힣]", widget.label) or widget.label in ("mult_adds",), widget.label
