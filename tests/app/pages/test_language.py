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
from analysis.architecture.cost import count_cost
from analysis.claims.claim import Criterion, check
from analysis.claims.claims import ON_IMAGES
from analysis.claims.figure_5 import FIGURE_5
from analysis.claims.published import PUBLISHED, published_claims
from analysis.figures.gradient_flow import network_title
from analysis.figures.style.heatmap import color_title
from analysis.figures.style.words import stage_title
from analysis.results.efficiency import Parity
from analysis.results.tables import paper_table
from analysis.reuse.measures import MEASURE_TITLES
from analysis.words import Phrase, in_language
from app.dashboard import language
from app.dashboard.language import FOLDER, LANGUAGES, catalogue, translate, translated
from densenet_core import load_zoo, zoo_names
from densenet_core.networks.names import spec_from_name

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
                yield re.compile(r"columns\.[^.]+")


def patterns(key: ast.expr) -> Iterator[re.Pattern[str]]:
    if isinstance(key, ast.IfExp):
        yield from patterns(key.body)
        yield from patterns(key.orelse)
        return
    parts = key.values if isinstance(key, ast.JoinedStr) else [key]
    yield re.compile("".join(re.escape(part.value) if isinstance(part, ast.Constant) else "[^.]+" for part in parts))


def phrases_of_the_analysis() -> dict[str, str]:
    """The English templates of all phrases by their keys: those in the source, and the titles of entries of tables."""
    found: dict[str, str] = {title.key: title.template for title in MEASURE_TITLES.values()}
    for claim in (*FIGURE_5, *ON_IMAGES, *PUBLISHED):
        found |= {own.key: own.template for own in (claim.said_statement, claim.said_statistic)}
    for file in (ROOT / "analysis").rglob("*.py"):
        for key, template in phrases_in(ast.parse(file.read_text())):
            assert found.setdefault(key, template) == template, f"{key} has two texts, one in {file}"
    return found


def phrases_in(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
            continue
        if node.func.id == "Phrase" and isinstance(node.args[0], ast.Constant):
            yield ast.literal_eval(node.args[0]), ast.literal_eval(node.args[1])
        elif node.func.id == "phrases" and isinstance(node.args[1], ast.Dict):
            for option, text in ast.literal_eval(node.args[1]).items():
                yield f"{ast.literal_eval(node.args[0])}.{option}", text


def test_every_language_has_a_catalogue_and_no_other_lies_there() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(LANGUAGES)


@pytest.mark.parametrize("other", [name for name in LANGUAGES if name != "en"])
def test_languages_have_the_same_keys_and_placeholders(other: str) -> None:
    pages, phrases = catalogue("en"), phrases_of_the_analysis()
    assert list(catalogue(other))[: len(pages)] == list(pages)
    assert set(list(catalogue(other))[len(pages) :]) == set(phrases)  # none missing, none that no phrase has
    for key, text in pages.items():
        assert placeholders(catalogue(other)[key]) == placeholders(text), key
    for key, text in phrases.items():
        there = catalogue(other)[key]
        assert sorted(re.findall(r"%?\{[^}]*\}", there)) == sorted(re.findall(r"%?\{[^}]*\}", text)), key


def test_every_key_that_is_used_is_there_and_every_key_there_is_used() -> None:
    used = list(keys_used())
    for pattern in used:
        assert any(pattern.fullmatch(key) for key in catalogue("en")), pattern.pattern
    for key in catalogue("en"):
        assert any(pattern.fullmatch(key) for pattern in used), key


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


def test_every_stage_of_a_network_has_a_korean_name() -> None:
    for name in ("densenet-7-2", "resnet-8", "resnet50", "highway-10-8", "fractalnet-21", "dsn-resnet-8"):
        for stage in set(count_cost(spec_from_name(name), 32)["stage"]):
            assert re.search(r"[가-힣]", in_language(stage_title(stage), catalogue("ko"))), stage
    for layer in filter(None, paper_table(1)["Layers"]):
        assert re.search(r"[가-힣]", in_language(stage_title(layer), catalogue("ko"))), layer


def test_korean_is_korean() -> None:
    for key, text in catalogue("ko").items():
        words = re.sub(r"%?\{[^}]*\}|<[^>]*>|`[^`]*`|mult_adds|viridis|cividis", "", text)
        if re.search(r"[a-z]{4}", words):
            assert re.search(r"[가-힣]", words), (key, text)


def test_a_figures_phrases_are_translated_and_all_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    epoch, layers = Phrase("figures.epoch", "epoch"), Phrase("figures.num_layers", "{number} layers", number=12)
    figure = go.Figure(go.Scatter(x=[1], y=[2], name="epoch", text=[layers], customdata=["transition"]))
    figure.update_xaxes(title=epoch, ticktext=[layers], tickvals=[1]).add_annotation(text=layers)
    assert translate(figure) is figure
    monkeypatch.setattr(language, "language", lambda: "ko")
    korean = translate(figure)
    assert korean.layout.xaxis.title.text == "에폭"
    assert korean.layout.annotations[0].text == korean.layout.xaxis.ticktext[0] == korean.data[0].text[0] == "층 12개"
    assert korean.data[0].name == "epoch"  # a network of this name
    assert list(korean.data[0].customdata) == ["transition"]
    assert figure.layout.xaxis.title.text == "epoch"


def test_phrases_of_phrases_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "language", lambda: "ko")
    assert translated(color_title("total_abs_weight", "block_max")) == "|w|의 합 / 블록의 최댓값"
    assert translated(network_title("DenseNet (L=40, k=12), untrained")) == "DenseNet (L=40, k=12), 학습 전"
    assert translated("epoch") == "epoch"  # no phrase
    found = Parity("DenseNet-BC", "ResNet-101", 22.44, "params", 40.0, 20.0)
    assert str(found) == "At ResNet-101's error of 22.44 % DenseNet-BC needs 2 times fewer parameters"
    assert translated(str(found)) == "ResNet-101의 오류율 22.44%를 DenseNet-BC은(는) 1/2의 파라미터 수로 달성합니다"


def test_claims_keep_their_phrases_in_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "language", lambda: "ko")
    row = next(check(FIGURE_5, connection_weights(load_zoo(zoo_names()[0]))).itertuples())
    assert translated(row.statement) == catalogue("ko")["claim_statements.layers_spread"]
    assert translated(row.criterion) == "0.5 이상"
    assert translated(str(Criterion(at_most=1, below_control=True))) == "1 이하, 대조군보다 작음"


def test_the_efficiency_claims_are_korean_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "language", lambda: "ko")
    for text in published_claims()["reason"]:
        assert re.search(r"[가-힣]", translated(text)), text
        assert not re.search(r"\b(the|is|needs|against|with)\b", translated(text)), translated(text)


def test_a_tables_columns_are_named_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    table = connection_weights(load_zoo(zoo_names()[0]))
    for name in LANGUAGES:
        monkeypatch.setattr(language, "language", lambda name=name: name)
        assert set(language.column_labels(table.columns)) == set(table.columns)
    assert language.column_labels(["no such column"]) == {}
    for name, error in (("en", "Error (%)"), ("ko", "오류율(%)")):
        monkeypatch.setattr(language, "language", lambda name=name: name)
        labels = language.column_labels(["test_error", "mult_adds", "error"])
        assert labels == {"mult_adds": "mult_adds", "error": error}


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
    app.session_state[language.KEY] = None  # what a browser may send for a moment
    app.run()
    assert not app.exception
    assert app.session_state[language.KEY] == "ko"


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


def test_an_error_begins_with_a_capital_letter_below_words_in_the_visitors_language() -> None:
    source = 'from app.dashboard.refusals import show_error\nshow_error("epochs 0 is below 1")\n'
    english, korean = AppTest.from_string(source), AppTest.from_string(source)
    korean.session_state[language.KEY] = "ko"
    assert english.run().error[0].value == "Epochs 0 is below 1"
    lead, said = korean.run().error[0].value.split("\n\n")
    assert re.search(r"[가-힣]", lead) and said == "Epochs 0 is below 1"


@pytest.mark.parametrize(
    ("chosen", "words"), [("en", ["45 s", "12 min", "3.5 h"]), ("ko", ["45초", "12분", "3.5시간"])]
)
def test_durations_are_in_the_pages_language(chosen: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "language", lambda: chosen)
    assert [language.duration_words(seconds) for seconds in (45, 720, 12_600)] == words
