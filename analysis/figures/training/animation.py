"""Export feature reuse over a training: GIF, MP4, or a ZIP with one vector figure per epoch."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from analysis.figures.export import figure_bytes
from analysis.figures.figure_5 import feature_reuse_figure
from analysis.figures.training.emergence import choose_epochs
from densenet_core import RunError

SECONDS_PER_FRAME, LAST_SECONDS, DPI = 0.2, 2.0, 150
ANIMATION_FORMATS = ("gif", "mp4", "zip")


def has_ffmpeg() -> bool:
    """Return whether the program that writes MP4 is installed."""
    return shutil.which("ffmpeg") is not None


def animation_bytes(tables: pd.DataFrame, file_format: str) -> bytes:
    """Return the content of an animation: the paper-style figure of each epoch, labeled with the epoch.

    Args:
        tables: as returned by ``reuse_over_training``.
        file_format: gif, mp4, or zip for one PDF per epoch. The last frame of an animation is held for two seconds.

    Raises:
        ValueError: another format.
        RunError: mp4 is asked for where the program ffmpeg is not installed.
    """
    if file_format == "gif":
        return _gif(tables)
    if file_format == "mp4":
        return _mp4(tables)
    if file_format == "zip":
        return _zip(tables)
    raise ValueError(f"format {file_format!r} is unknown: choose from {', '.join(ANIMATION_FORMATS)}")


def _figures(tables: pd.DataFrame) -> Iterator[tuple[int, Figure]]:
    for epoch in choose_epochs(tables):
        figure = feature_reuse_figure(tables[tables["epoch"] == epoch].reset_index(drop=True))
        figure.text(0.01, 0.01, f"epoch {epoch}", fontsize=9, weight="bold", va="bottom")
        yield epoch, figure


def _pictures(tables: pd.DataFrame) -> list[bytes]:
    pictures = []
    for _, figure in _figures(tables):
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=DPI)
        pictures.append(picture.getvalue())
    return pictures


def _gif(tables: pd.DataFrame) -> bytes:
    frames = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in _pictures(tables)]
    durations = [1000 * SECONDS_PER_FRAME] * (len(frames) - 1) + [1000 * LAST_SECONDS]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return buffer.getvalue()


def _mp4(tables: pd.DataFrame) -> bytes:
    if not has_ffmpeg():
        raise RunError("MP4 needs the program ffmpeg, which is not installed: install it, or take GIF")
    pictures = _pictures(tables)
    pictures += pictures[-1:] * round(LAST_SECONDS / SECONDS_PER_FRAME - 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "animation.mp4"
        pipe = ("-f", "image2pipe", "-framerate", str(1 / SECONDS_PER_FRAME), "-i", "-")
        even = ("-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white", "-pix_fmt", "yuv420p")  # what players read
        command = ("ffmpeg", "-loglevel", "error", *pipe, *even, "-movflags", "faststart", str(file))
        subprocess.run(command, input=b"".join(pictures), check=True)
        return file.read_bytes()


def _zip(tables: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for epoch, figure in _figures(tables):
            name = zipfile.ZipInfo(f"epoch_{epoch:04}.pdf")  # with its fixed time stamp: the same bytes every time
            archive.writestr(name, figure_bytes(figure, "pdf"), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
