"""Connections as arcs: cubic Bézier curves, drawn by Matplotlib as they are and by Plotly as points of a line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.path import Path

POINTS = 24  # of an arc on the screen


def arc(start: float, end: float, height: float, base: float = 0.0) -> np.ndarray:
    """Return the four control points (4, 2) of an arc from ``start`` to ``end``, ``height`` above ``base``."""
    top = base + 4 / 3 * height
    return np.array([[start, base], [start, top], [end, top], [end, base]])


def arc_collection(arcs: Sequence[np.ndarray]) -> PathCollection:
    """Return arcs as paths for Matplotlib."""
    codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    return PathCollection([Path(points, codes) for points in arcs], facecolors="none")


def arc_line(arcs: Sequence[np.ndarray]) -> np.ndarray:
    """Return arcs as points (number, 2) of one line with gaps between them, for Plotly."""
    t = np.linspace(0, 1, POINTS)[:, None]
    weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])  # (POINTS, 4)
    gap = np.full((1, 2), np.nan)
    return np.vstack([part for points in arcs for part in (weights @ points, gap)])
