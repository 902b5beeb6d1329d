"""Damages the files of a run folder and reads them: `python -m tests.fuzz.mutate_runs --files 10000`.

Each of config.json, summary.json, metrics.csv, last.ckpt and previous.ckpt is damaged, alone and together; states are
also saved anew with wrong content, so that their checksums match. Whatever is in them, the other run stays listed,
every function returns or raises a RunError of one line, and nothing takes longer than 5 s.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from densenet_core import RunError, files
from densenet_core.networks.build import build_model
from densenet_core.networks.names import spec_from_name
from densenet_core.training.config import TrainingConfig, config_from
from densenet_core.training.loop import train
from densenet_core.training.runs.claim import recover_config
from densenet_core.training.runs.files import CONFIG, LAST, METRICS, PREVIOUS, SUMMARY, read_config, read_metrics
from densenet_core.training.runs.state import load_state, restore_weights, resume
from densenet_core.training.runs.status import list_runs, read_summary
from tests.fuzz.hostile import damaged

FILES = (CONFIG, SUMMARY, METRICS, LAST, PREVIOUS)
MAX_SECONDS = 5.0
NETWORK = "densenet-7-2"
WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 2**50, 2**70, 1.5, float("nan"), float("inf"), "", "x" * 5000, "\x1b[2J\n", [],
    [[]], {}, {"a": 1}, [1], {"a": {1}},
)  # fmt: skip


def make_runs(folder: Path) -> dict[str, bytes]:
    """Train a run and copy it, so that one is damaged and the other is not; return the files of the first."""
    train(TrainingConfig(NETWORK, "digits", "whole", epochs=2, batch_size=512, runs_dir=str(folder)), False)
    shutil.copytree(folder / "whole", folder / "target")
    return {name: (folder / "target" / name).read_bytes() for name in FILES}


def wrong_json(content: bytes, chance: random.Random) -> bytes:
    """A JSON object in which a value or a key is another."""
    values = json.loads(content)
    key = chance.choice(list(values))
    values[key if chance.random() < 0.8 else f"{key}x"] = chance.choice(WRONG)
    if chance.random() < 0.2:
        del values[chance.choice(list(values))]
    return json.dumps(values, default=str).encode()


def wrong_state(content: bytes, chance: random.Random) -> bytes:
    """A state with valid checksums in which something is another."""
    state = torch.load(io.BytesIO(content), weights_only=True)
    optimizer = state["optimizer"]
    inner = [optimizer["state"][0], optimizer["param_groups"][0], state["model"], state["sessions"][0]]
    place = chance.choice([state, state["metrics"][0], state["config"], state["record"], optimizer, *inner])
    place[chance.choice(list(place))] = chance.choice(WRONG)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def damage(target: Path, whole: dict[str, bytes], chance: random.Random) -> None:
    """Write the target's files, with some of them damaged or gone."""
    names = FILES if chance.random() < 0.1 else [chance.choice(FILES)]
    for name, content in whole.items():
        written = content
        if name in names:
            kind = chance.random()
            if kind < 0.05:
                (target / name).unlink(missing_ok=True)
                continue
            if kind < 0.4 and name.endswith(".json"):
                written = wrong_json(content, chance)
            elif kind < 0.4 and name.endswith(".ckpt"):
                written = wrong_state(content, chance)
            else:
                written = damaged(content, chance, list(whole.values()))
        (target / name).write_bytes(written)


def outcome(work: Callable[[], object]) -> str:
    """What became of a call: "done", or "refused" by a RunError of one line."""
    try:
        work()
    except RunError as error:
        if not str(error) or "\n" in str(error) or len(str(error)) > 1100:
            raise AssertionError(f"no short reason: {error!r}") from error
        return "refused"
    return "done"


def take_up(target: Path) -> None:
    """Resume a run as a training does, with one step of the optimizer."""
    finished = resume(target)
    model = build_model(spec_from_name(NETWORK, 10, 1))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    load_state(target, finished.state, model, optimizer)
    restore_weights(target, finished.state, model)
    optimizer.step()


def check(runs: Path) -> str:
    """Read the runs in every way; return what became of resuming the damaged one.

    Raises:
        AssertionError: a promise is broken.
    """
    start, target = time.monotonic(), runs / "target"
    found, unreadable = list_runs(runs)
    assert [run.epoch for run in found if run.name == "whole"] == [2]
    if (target / CONFIG).exists() or (target / SUMMARY).exists():
        assert "target" in {run.name for run in (*found, *unreadable)}
    for run in unreadable:
        assert run.reason and "\n" not in run.reason and len(run.reason) < 1100, run
    for work in (read_summary, read_config, lambda folder: read_metrics(folder / METRICS)):
        outcome(lambda work=work: work(target))  # type: ignore[misc]
    outcome(lambda: config_from(recover_config(target)))
    result = outcome(lambda: take_up(target))
    if result == "done":
        assert outcome(lambda: read_metrics(target / METRICS)) == "done" or not (target / LAST).exists()
    assert time.monotonic() - start < MAX_SECONDS
    return result


def run(number: int, seed: int, first: int = 0) -> collections.Counter[str]:
    """Damage and read a run so often; the first that breaks a promise is kept and named."""
    logging.disable(logging.WARNING)
    real_flush, files._flush = files._flush, lambda path, flags: None  # the disk's speed is not the subject
    counts: collections.Counter[str] = collections.Counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            runs = Path(folder)
            whole = make_runs(runs)
            for place in range(first, first + number):
                damage(runs / "target", whole, random.Random(f"{seed} {place}"))
                kept = Path(tempfile.gettempdir()) / f"hostile-run-{seed}-{place}"
                shutil.rmtree(kept, ignore_errors=True)  # of an earlier run that was killed
                shutil.copytree(runs / "target", kept)
                try:
                    counts[check(runs)] += 1
                except BaseException:
                    print(f"run {place} of seed {seed} is kept as {kept}", file=sys.stderr)
                    raise
                shutil.rmtree(kept)
    finally:
        files._flush = real_flush
        logging.disable(logging.NOTSET)
    return counts


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    options = parser.parse_args()
    start = time.monotonic()
    counts = run(options.files, options.seed, options.first)
    took = time.monotonic() - start
    print(f"{counts.total()} damaged runs in {took:.0f} s: {counts['done']} resumed, {counts['refused']} refused")


if __name__ == "__main__":
    main()
