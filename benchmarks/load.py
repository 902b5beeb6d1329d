"""Many people at once, in real browsers on one server, each with a network that no other has.

Run with: `python benchmarks/load.py --sessions 20 --seconds 120`

Each session is a Chromium context of its own and uploads its network; once all have, each changes controls with pauses
of some seconds (`--pause`). After every change it looks whether the page still names its own network and no other, and
no error. Two times are taken of a change: until the browser has drawn it, and until the server's last message about it
has come. Browsers and server share the machine, so what each uses of it is printed too; with `--plain` the sessions are
WebSocket clients that draw nothing and choose networks of the zoo: so it is the server that is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from playwright.async_api import Browser, Page, async_playwright
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from analysis.figures.style.words import SCALED_TITLES
from analysis.reuse.measures import MEASURE_TITLES
from analysis.reuse.scaling import SCALING_TITLES
from densenet_core import Checkpoint, DenseNet, DenseNetSpec, load_zoo, save_checkpoint, zoo_names
from densenet_core.hardware import hardware
from support.served import cpu_seconds, machine_seconds, memory, serving

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
MEASURES = ("mean_abs_weight", "l1_per_input_map", "effective_weight")  # those that need no images
DRAWN = """shown => new Promise(tell => {
  let pressed;
  addEventListener("pointerdown", () => { pressed = performance.now(); }, { capture: true, once: true });
  const isShown = () => [...document.querySelectorAll(".cbcoloraxis text")].some(text => text.textContent == shown);
  new MutationObserver((changes, observer) => {
    if (pressed === undefined || !isShown()) return;
    observer.disconnect();
    requestAnimationFrame(() => tell((performance.now() - pressed) / 1000));
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
})"""  # by the page's own clock: seconds from the press of a button until the frame in which the color bar says it
IMPORTS = 10  # seconds in which a server that was just started imports what later pages need (app/dashboard/warm_up.py)
WARM_UP = 1 / 3  # of the time, before memory is compared


@dataclass
class Session:
    """One visitor: its own network's name, and what it lived through."""

    name: str
    drawn_s: list[float] = field(default_factory=list)  # from the click until the browser shows the change
    server_s: list[float] = field(default_factory=list)  # from the click until the server's last message about it
    errors: list[str] = field(default_factory=list)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, frame: str | bytes) -> None:
        """Take a WebSocket's message; the one that ends a run of the script is what ``server_s`` waits for."""
        message = ForwardMsg()
        message.ParseFromString(frame if isinstance(frame, bytes) else frame.encode())
        if message.WhichOneof("type") == "script_finished":
            self.finished.set()


def own_network(folder: Path, number: int) -> Path:
    """Return a network of ordinary size that names its session."""
    spec = DenseNetSpec((12, 12, 12), 12, 16, bottleneck=False, compression=1.0, num_classes=10 + number)
    file = folder / f"{number}.safetensors"
    save_checkpoint(Checkpoint(spec, DenseNet(spec).state_dict(), {"dataset": f"own-{number:03}-network"}), file)
    return file


class Plan(NamedTuple):
    """How all browse: they begin together, when the last one has its page."""

    seconds: float
    pause: float  # seconds between two changes of a session; half to one and a half of it
    start: asyncio.Barrier


async def upload(page: Page, url: str, file: Path, session: Session) -> None:
    """Open the dashboard on the session's own network."""
    page.set_default_timeout(120_000)
    page.on("websocket", lambda socket: socket.on("framereceived", session.hear))
    await page.goto(f"{url}/reuse")  # one uploader; the first page has a second one
    await choose(page, "Load from", "Upload")
    await page.locator("input[type=file]").set_input_files(file)
    await page.get_by_text(session.name).first.wait_for()


async def browse(browser: Browser, url: str, file: Path, plan: Plan, session: Session) -> None:
    """Upload and change controls until the time is over."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    chance = random.Random(session.name)
    try:
        await upload(page, url, file, session)
        state = {"Measure": MEASURES[0], "Scaling": "kind_max"}
        await plan.start.wait()
        end = time.monotonic() + plan.seconds
        while time.monotonic() < end:
            await asyncio.sleep(plan.pause * (0.5 + chance.random()))
            await change(page, session, state, chance)
            await _look(page, session)
    except Exception as error:
        session.errors.append(f"{session.name}: {type(error).__name__}: {str(error).splitlines()[0]}")
    finally:
        await context.close()


async def talk(url: str, plan: Plan, session: Session) -> None:
    """Do the same without a browser: send what one would send, and read what comes."""
    from websockets.asyncio.client import connect

    chance = random.Random(session.name)
    address = url.replace("http", "ws", 1) + "/_stcore/stream"
    try:
        async with connect(address, subprotocols=["streamlit"], max_size=None) as stream:  # type: ignore[list-item]
            boxes = _boxes(await _rerun(stream, {}))
            chosen = {boxes["Shipped network"].id: session.name}
            title = load_zoo(session.name).spec.title
            await asyncio.sleep(IMPORTS)  # browsers take longer to come
            await plan.start.wait()
            end = time.monotonic() + plan.seconds
            while time.monotonic() < end:
                label = chance.choice(("Measure", "Scaling"))
                chosen[boxes[label].id] = chance.choice(list(boxes[label].options)[:3])
                start = time.monotonic()
                messages = await _rerun(stream, chosen)
                session.server_s.append(time.monotonic() - start)
                headings = " ".join(message.delta.new_element.heading.body for message in messages)
                if title not in headings.replace("\\", ""):
                    session.errors.append(f"{session.name}: the page is of {headings}")
                await asyncio.sleep(plan.pause * (0.5 + chance.random()))
    except Exception as error:
        session.errors.append(f"{session.name}: {type(error).__name__}: {str(error).splitlines()[0]}")


async def _rerun(stream: Any, chosen: dict[str, str]) -> list[ForwardMsg]:
    """Run the page's script once with these choices, and return its messages."""
    asked = BackMsg()
    asked.rerun_script.query_string = ""
    for widget, value in chosen.items():
        asked.rerun_script.widget_states.widgets.add(id=widget, string_value=value)
    await stream.send(asked.SerializeToString())
    messages: list[ForwardMsg] = []
    while not messages or messages[-1].WhichOneof("type") != "script_finished":
        messages.append(ForwardMsg.FromString(await stream.recv()))
        if messages[-1].delta.new_element.HasField("exception"):
            raise RuntimeError(messages[-1].delta.new_element.exception.message)
    return messages


def _boxes(messages: list[ForwardMsg]) -> dict[str, Any]:
    elements = [message.delta.new_element for message in messages]
    return {element.selectbox.label: element.selectbox for element in elements if element.HasField("selectbox")}


async def choose(page: Page, label: str, option: str) -> None:
    await page.get_by_role("combobox", name=label).click()
    await page.get_by_role("option", name=option, exact=True).click()


async def change(page: Page, session: Session, state: dict[str, str], chance: random.Random) -> None:
    """Choose another measure or scaling, and wait until the color bar names it."""
    label = chance.choice(("Measure", "Scaling"))
    titles = {name: MEASURE_TITLES[name] for name in MEASURES} if label == "Measure" else SCALING_TITLES
    known = [name for name in titles if name != state[label] and name != "none"]
    state[label] = chance.choice(known)
    shown = f"{MEASURE_TITLES[state['Measure']]} / {SCALED_TITLES[state['Scaling']]}"  # type: ignore[index]
    await page.get_by_role("combobox", name=label).click()
    option = page.get_by_role("option", name=titles[state[label]], exact=True)
    await option.wait_for()
    session.finished.clear()
    drawn = asyncio.ensure_future(page.evaluate(DRAWN, shown))
    await asyncio.sleep(0)  # so that the page listens before it is clicked
    start = time.monotonic()
    await option.click()
    await asyncio.wait_for(session.finished.wait(), 60)
    session.server_s.append(time.monotonic() - start)
    session.drawn_s.append(await asyncio.wait_for(drawn, 60))


async def _look(page: Page, session: Session) -> None:
    """Record what is wrong: an error on the page, another's network, or not one's own."""
    words = await page.locator("[data-testid=stMain]").text_content() or ""
    if await page.locator(".stException, [data-testid=stAlertContentError]").count():
        session.errors.append(f"{session.name}: an error on the page")
    named = set(re.findall(r"own-\d{3}-network", words))
    if named != {session.name}:
        session.errors.append(f"{session.name}: the page names {sorted(named)}")


async def visit(url: str, process: int, folder: Path, options: argparse.Namespace) -> tuple[list[Session], list[int]]:
    """Run all sessions at once, and measure the server's memory every second."""
    number = options.sessions
    plan = Plan(options.seconds, options.pause, asyncio.Barrier(number))
    used: list[int] = []

    async def watch() -> None:
        while True:
            used.append(memory(process))
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    if options.plain:
        sessions = [Session(zoo_names()[i % len(zoo_names())]) for i in range(number)]
        await asyncio.gather(*(talk(url, plan, own) for own in sessions))
    else:
        files = [own_network(folder, i) for i in range(number)]
        sessions = [Session(f"own-{i:03}-network") for i in range(number)]
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            visits = zip(files, sessions, strict=True)
            await asyncio.gather(*(browse(browser, url, file, plan, own) for file, own in visits))
            await browser.close()
    watching.cancel()
    return sessions, used


def report(sessions: list[Session], used: list[int], server_cpu: float, all_cpu: float, took: float) -> None:
    """Print what was measured."""
    print(f"{len(sessions)} sessions, {took:.0f} s, on {hardware()} ({os.cpu_count()} cores)")
    for what, times in (
        ("until the browser has drawn it", [t for session in sessions for t in session.drawn_s]),
        ("until the server's last message", [t for session in sessions for t in session.server_s]),
    ):
        if times:
            middle, high = np.percentile(times, (50, 95))
            print(f"a change {what}: median {middle:.2f} s, p95 {high:.2f} s ({len(times)} changes)")
    warm = used[int(len(used) * WARM_UP) :]
    thirds = np.array_split(np.array(warm) / 2**20, 3)
    print(
        "server's memory: "
        + ", ".join(f"{part.mean():.0f}" for part in thirds)
        + f" MiB in three thirds after warm-up; {used[0] / 2**20:.0f} at the start, {max(used) / 2**20:.0f} at most"
    )
    print(f"cores kept busy: {all_cpu / took:.2f}, of them {server_cpu / took:.2f} by the server")
    errors = [error for session in sessions for error in session.errors]
    print(f"errors: {len(errors)}", *errors[:10], sep="\n  ")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--pause", type=float, default=10.0, help="seconds between two changes of a session")
    parser.add_argument("--plain", action="store_true", help="clients that draw nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serving(Path(name), Path(name) / "log") as server:
        process = server.process.pid
        start, busy, own = time.monotonic(), machine_seconds(), cpu_seconds(process)
        sessions, used = asyncio.run(visit(server.url, process, Path(name), options))
        took = time.monotonic() - start
        report(sessions, used, cpu_seconds(process) - own, machine_seconds() - busy, took)
    if any(session.errors for session in sessions):
        sys.exit(1)


if __name__ == "__main__":
    main()
