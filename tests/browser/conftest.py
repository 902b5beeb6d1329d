"""One Chromium for all browser tests, and one dashboard for those that need none of their own.

``tests/conftest.py`` runs all of them in one process.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, expect, sync_playwright

from benchmarks.support.served import serving

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
TIMEOUT_MS = 240_000  # of a page on a busy machine
# Without a GPU, a spinner that turns all the time takes a core from the server that it waits for.
STILL = """
document.addEventListener("DOMContentLoaded", () => {
    const style = document.createElement("style");
    style.textContent = "*, *::before, *::after { animation-iteration-count: 1 !important; }";
    document.head.append(style);
});
"""


@pytest.fixture(scope="package")
def browser() -> Iterator[BrowserContext]:
    """One person's Chromium, which keeps the scripts of a server that it has seen; its pages are sessions of their own.

    It ends with the last browser test: Playwright's event loop would block others.
    """
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        browser = chromium.new_context(viewport={"width": 1440, "height": 1100})
        browser.set_default_timeout(TIMEOUT_MS)
        browser.add_init_script(STILL)
        expect.set_options(timeout=TIMEOUT_MS)
        yield browser
        chromium.close()


@pytest.fixture(scope="package")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a running dashboard answers, started by Streamlit in a folder with an empty runs/."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "runs").mkdir()
    cache = str(folder / "cache")
    with serving(folder, folder / "log", XDG_CACHE_HOME=cache, OMP_NUM_THREADS="1") as server:
        yield server.url
