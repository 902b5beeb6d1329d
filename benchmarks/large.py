"""The feature-reuse table of a network of a thousand layers, and a checkpoint of 5 GB: time and memory.

`python benchmarks/large.py [--gigabytes 5]`: plain DenseNets (k=12) of L=103 to 1001, a process for each: reading the
table from random weights, and the heatmaps of its page; and `inspect` and `reuse` of a .safetensors file in which
DenseNet-121 is a small part. The rest of that file is a hole: reading it would still take its memory. Memory is the
most that a process has held (Linux).
"""

from __future__ import annotations

import argparse
import json
import struct
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from analysis.figures.figure_5 import feature_reuse_screen
from analysis.reuse.connections import connection_weights
from densenet_core import Checkpoint, DenseNet, DenseNetSpec, create_model
from densenet_core.hardware import hardware
from support import recorded
from support.workers import Worker, answer, run, watch
from training import peak_kilobytes

LAYERS = ((33, 33, 33), (82, 82, 82), (166, 166, 166), (332, 332, 333))  # L=103, 250, 502, 1001
WAYS = ("weights", "table", "page's heatmaps")
MAX_SIDE = 16384  # of the file's other tensors


def spec_of(block_config: tuple[int, ...]) -> DenseNetSpec:
    """Return a plain DenseNet (k=12) for small images."""
    return DenseNetSpec(block_config, 12, 16, bottleneck=False, compression=1.0)


def serve(*block_config: str) -> None:
    """Answer with the seconds and memory of making the weights, the table and the page's heatmaps."""
    spec = spec_of(tuple(map(int, block_config)))

    def measure() -> list[float]:
        with torch.device("meta"):
            shapes = {key: tensor.shape for key, tensor in DenseNet(spec).state_dict().items()}
        found, start = [], perf_counter()
        checkpoint = Checkpoint(spec, {key: torch.rand(shape) for key, shape in shapes.items()})
        found += [perf_counter() - start, peak_kilobytes() / 1024]
        start = perf_counter()
        table = connection_weights(checkpoint)
        found += [perf_counter() - start, peak_kilobytes() / 1024]
        start = perf_counter()
        page = feature_reuse_screen(table).to_json()
        return [*found, perf_counter() - start, peak_kilobytes() / 1024, len(table), len(page) / 1e6]

    answer(measure)


def growth() -> list[dict[str, object]]:
    """Return a row for each depth and way, and the slopes of straight lines through their logarithms."""
    rows, answers = [], []
    for block_config in LAYERS:
        worker = Worker(__file__, *block_config)
        answers.append(worker.ask())
        worker.end()
        *numbers, connections, megabytes = answers[-1]
        title = spec_of(block_config).title
        print(f"{title}: {connections:,.0f} connections, page {megabytes:.1f} MB, s and MB: {np.round(numbers, 2)}")
        for way, seconds, peak in zip(WAYS, numbers[::2], numbers[1::2], strict=True):
            rows.append({"case": title, "way": way, "ms": 1000 * seconds, "times_ours": 1.0, "peak_mb": peak})
    connections = [row[-2] for row in answers]
    for i, way in enumerate(WAYS[1:], start=1):
        slope = np.polyfit(np.log(connections), np.log([row[2 * i] for row in answers]), 1)[0]
        print(f"{way}: time grows with the connections to the power {slope:.2f} (ideal: 1)")
        rows.append({"case": "connections", "way": way, "slope": slope, "slope_ideal": 1.0})
    return rows


def write_large(file: Path, gigabytes: float) -> None:
    """Write DenseNet-121 among other tensors that are holes of the file."""
    state = create_model("densenet121", 1000).state_dict()
    side = min(MAX_SIDE, int((gigabytes * 1e9 / 4) ** 0.5))
    shapes: dict[str, tuple[str, list[int]]] = {
        key: ("I64" if tensor.dtype == torch.int64 else "F32", list(tensor.shape)) for key, tensor in state.items()
    }
    others = max(1, round(gigabytes * 1e9 / (4 * side**2)))
    shapes |= {f"decoder.projection{i}.weight": ("F32", [side, side]) for i in range(others)}
    header, offset = {}, 0
    for key, (kind, shape) in shapes.items():
        end = offset + int(np.prod(shape)) * (8 if kind == "I64" else 4)
        header[key] = {"dtype": kind, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(text)) + text)
        for tensor in state.values():
            opened.write(tensor.numpy().tobytes())
        opened.truncate(8 + len(text) + offset)


def large_file(gigabytes: float) -> list[dict[str, object]]:
    """Return a row for each command on the large file."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "large.safetensors"
        write_large(file, gigabytes)
        case = f"DenseNet-121 in a file of {file.stat().st_size / 1e9:.1f} GB"
        for way, arguments in (
            ("inspect", ("inspect", str(file))),
            ("reuse to CSV and PDF", ("reuse", str(file), "--table", f"{name}/a.csv", "--figure", f"{name}/a.pdf")),
        ):
            seconds, peak = watch("-m", "app", *arguments)
            print(f"{case}, {way}: {seconds:.1f} s, {peak:.0f} MB")
            rows.append({"case": case, "way": way, "ms": 1000 * seconds, "times_ours": 1.0, "peak_mb": peak})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0, help="of the large file")
    options = parser.parse_args()
    print(hardware())
    rows = large_file(options.gigabytes) + growth()
    recorded.write("large", "A table of a thousand layers and a large file, a process each, once", rows)


if __name__ == "__main__":
    run(main, serve)
