"""What strangers send, in a real Chromium: their text shows as text, and their networks go when they do."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from playwright.sync_api import BrowserContext, Page, expect

from benchmarks.support.served import Server, serving
from densenet_core import Checkpoint, DenseNetSpec, save_checkpoint
from tests.conftest import trained_like

TEXT = (
    "<img src=x onerror=alert(1)> [a](javascript:alert(1)) $x^2$ :material/home: :streamlit: :red[x] :smile: a -> b "
    "-- c https://evil.example www.evil.example me@evil.example **b** `c` &lt;i&gt; %{x}"
)
NAME = "<b>bold<i> [a](javascript:x) $x$ :material_home: &amp; <a href='x'>y %{x}"
SPEC = DenseNetSpec((3, 4, 2), 4, 8, num_classes=5)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def hostile() -> Checkpoint:
    record = {"dataset": TEXT, "epochs": 3, "test_error": TEXT, "seed": 0}
    return Checkpoint(SPEC, trained_like(SPEC).state_dict(), record)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, hostile: Checkpoint) -> Iterator[Server]:
    """A dashboard with two runs of strangers, whose sessions end a second after their pages."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "temporary").mkdir()
    for name in (NAME, "other"):
        save_checkpoint(
            replace(hostile, record=hostile.record | {"dataset": name}), folder / "runs" / name / "model.safetensors"
        )
        (folder / "runs" / name / "metrics.csv").write_text(
            "epoch,split,loss,error,seconds\n1,train,1,50,1\n1,test,1,50,1\n2,train,1,40,1\n2,test,1,40,1\n"
        )
    ending = "--server.disconnectedSessionTTL=1"
    with serving(folder, folder / "log", ending, TMPDIR=str(folder / "temporary")) as running:
        yield running


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    page = browser.new_page()
    page.set_viewport_size({"width": 1440, "height": 1600})
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    yield page
    assert not dialogs
    page.close()


def choose(page: Page, label: str, option: str, place: int = 0) -> None:
    page.get_by_role("combobox", name=label).nth(place).click()
    page.get_by_role("option", name=option, exact=True).click()


def open_uploader(page: Page, url: str) -> None:
    """Open the Reuse page without a network: the address names an upload that this session does not have."""
    page.goto(f"{url}/reuse?network=upload:000000000000")


def upload(page: Page, url: str, name: str, content: bytes) -> None:
    open_uploader(page, url)
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.locator("input[type=file]").set_input_files(file)


def words(page: Page) -> str:
    """The page's words without the sign that keeps them from becoming links."""
    return page.locator("[data-testid=stMain]").inner_text().replace("\u2060", "")


def nothing_became_alive(page: Page) -> None:
    for selector in ("img[src=x]", "a[href*='evil']", "a[href*='javascript']", "[data-testid=stMain] .katex"):
        expect(page.locator(selector)).to_have_count(0)
    expect(page.locator(".stException")).to_have_count(0)


def test_a_record_shows_as_text(page: Page, server: Server, hostile: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(hostile, tmp_path / "a.safetensors")
    upload(page, server.url, "<img src=x onerror=alert(1)>.safetensors", (tmp_path / "a.safetensors").read_bytes())
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    assert f"Trained on: {TEXT}" in words(page)
    nothing_became_alive(page)


def test_the_names_of_tensors_show_as_text(page: Page, server: Server, tmp_path: Path) -> None:
    torch.save({TEXT: torch.zeros(3)}, tmp_path / "a.pth")
    upload(page, server.url, "a.pth", (tmp_path / "a.pth").read_bytes())
    expect(page.get_by_test_id("stAlert").last).to_contain_text("no DenseNet or ResNet")
    assert TEXT in words(page)
    nothing_became_alive(page)


def test_the_names_of_runs_show_as_text_in_tables_and_charts(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/comparison")
    for side in (0, 1):
        choose(page, "Load from", "Runs", side)
        expect(page.get_by_role("combobox", name="Run").nth(side)).to_be_visible()
    choose(page, "Run", "other", 1)
    page.get_by_text("Draw them though their data differ").click()
    # two of stages, one of curves, and three blocks of both and of their difference
    expect(page.locator(".js-plotly-plot")).to_have_count(9)
    assert NAME in words(page)
    drawn = page.evaluate("[...document.querySelectorAll('.js-plotly-plot svg text')].map(text => text.textContent)")
    assert f"parameters: {NAME}" in drawn, json.dumps(drawn)
    assert f"{NAME}: test error" in drawn, json.dumps(drawn)
    expect(page.locator(".js-plotly-plot svg a")).to_have_count(0)
    nothing_became_alive(page)


def memory(server: Server) -> float:
    """Return the server's resident memory in MB."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def settled_memory(server: Server) -> float:
    """Return the server's memory once it has imported what its pages need."""
    before = memory(server)
    for _ in range(60):
        time.sleep(1)
        now = memory(server)
        if abs(now - before) < 1:
            return now
        before = now
    return before


def visit(browser: BrowserContext, server: Server, file: Path) -> None:
    """Upload a file, see its heatmap and leave."""
    page = browser.new_page()
    open_uploader(page, server.url)
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text(file.name).first).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    assert not list(tmp_path_of(server).rglob("densenet-lens-*"))
    page.close()


def memory_after_visit(browser: BrowserContext, server: Server, file: Path) -> float:
    visit(browser, server, file)
    time.sleep(3)  # the session ends
    return settled_memory(server)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_an_upload_goes_with_its_session(browser: BrowserContext, server: Server, tmp_path: Path) -> None:
    model = trained_like(DenseNetSpec((3, 4, 2), 96, 192, num_classes=5))
    torch.save(model.state_dict(), file := tmp_path / "a.pth")
    before = memory_after_visit(browser, server, file)
    for _ in range(3):
        visit(browser, server, file)
    after = [memory_after_visit(browser, server, file) for _ in range(3)]
    # An upload that stays costs two of its files a visit, its bytes and its tensors. Those of the last two sessions may
    # wait for the next garbage collection, so the least memory after one of the last visits is what counts: of the
    # first of them, four visits later.
    assert (min(after) - before) / 4 < 0.5 * file.stat().st_size / 2**20, (before, after)


def tmp_path_of(server: Server) -> Path:
    """The folder in which the server may put what it needs for a moment."""
    environment = Path(f"/proc/{server.process.pid}/environ").read_text().split("\0")
    return Path(next(entry for entry in environment if entry.startswith("TMPDIR=")).removeprefix("TMPDIR="))
