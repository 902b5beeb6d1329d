"""Shared parts of the figures of predictions: colors for and against a class, maps over images, grids of maps."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
from torch import Tensor

from analysis.prediction.maps import resize_maps
from analysis.prediction.predictor import BIAS
from analysis.words import Phrase

SOURCE = Phrase("prediction_figures.source", "source layer (0: the input of the block)")
PART = Phrase("prediction_figures.part", "part of the logit")
BIAS_TITLE = Phrase("prediction_figures.bias", "bias")
FOR, AGAINST, NEUTRAL = "#0072B2", "#D55E00", "#9ca3af"  # Okabe and Ito's blue and vermilion
SIGNED = "RdBu"  # Matplotlib's and Plotly's: red below 0, blue above
MAX_ALPHA, RANGE = 0.75, 0.42  # of a map over its image: the image stays visible where the map is largest
CONTRAST, PALEST = 1.5, 0.35  # exponent of the opacity; the palest color of a map of one sign, of 1
MAX_TILES = 256  # maps of a grid
MIN_PIXELS = 224  # side of an image on the screen


def source_labels(sources: pd.Series) -> list[str]:
    """Return the source layers as ticks: "bias", "0", "1", ..."""
    return [BIAS_TITLE if source == BIAS else str(source) for source in sources]


def colors_by_sign(values: pd.Series) -> list[str]:
    """Return blue for what speaks for the class, vermilion for what speaks against it."""
    return [FOR if value >= 0 else AGAINST for value in values]


def picture(pixels: Tensor, min_side: int = 1) -> np.ndarray:
    """Return pixels (C, H, W) uint8 as an RGB picture (H, W, 3); small ones enlarged pixel by pixel.

    >>> import torch
    >>> picture(torch.zeros(1, 8, 8, dtype=torch.uint8), min_side=32).shape
    (32, 32, 3)
    """
    rgb = pixels.expand(3, -1, -1) if len(pixels) == 1 else pixels[:3]
    factor = max(1, math.ceil(min_side / rgb.shape[-1]))
    return rgb.permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1)


def overlay(pixels: Tensor, own_map: Tensor, limit: float | None = None, min_side: int = MIN_PIXELS) -> np.ndarray:
    """Return a signed map laid over its image: blue for, red against, clearer where it is larger: (H, W, 3) uint8.

    Args:
        pixels: (C, H, W) uint8.
        own_map: (h, w), enlarged to the image.
        limit: the absolute value of full color; by default the largest of the map, and the color of a map of one sign
            begins at its smallest absolute value, so that similar places can still be distinguished.
    """
    base = picture(pixels, min_side).astype(float)
    values = resize_maps(own_map[None].float(), (base.shape[0], base.shape[1]))[0].numpy()
    strength = _strength(values, limit)
    color = mpl.colormaps[SIGNED](0.5 + RANGE * np.sign(values) * strength)[..., :3] * 255
    gray = base.mean(2, keepdims=True).repeat(3, 2)
    alpha = MAX_ALPHA * strength[..., None] ** CONTRAST
    blended: np.ndarray = (1 - alpha) * gray + alpha * color
    return blended.round().astype(np.uint8)


def _strength(values: np.ndarray, limit: float | None) -> np.ndarray:
    """Return how strongly each value of a map is colored, 0 to 1."""
    sizes: np.ndarray = np.abs(values)
    top = (sizes.max() if limit is None else limit) or 1.0
    strength: np.ndarray = np.clip(sizes / top, 0, 1)
    if limit is None and values.min() * values.max() > 0 and sizes.min() < top:  # of one sign
        low = sizes.min()
        strength = PALEST + (1 - PALEST) * (sizes - low) / (top - low)
    return strength


def mark_place(pixels: Tensor, y: float, x: float, min_side: int = MIN_PIXELS) -> np.ndarray:
    """Return the image with a frame around a place: (H, W, 3) uint8.

    Args:
        pixels: (C, H, W) uint8.
        y, x: the middle of the place, each 0 to 1.
    """
    found = picture(pixels, min_side).copy()
    height, width = found.shape[:2]
    half, line = max(3, min(height, width) // 7), max(2, min(height, width) // 56)
    for color, own, thick in ((255, half, line), (0, half - line, line // 2 + 1)):  # seen on light and on dark
        top, left = (min(max(int(place * size) - own, 0), size - 1) for place, size in ((y, height), (x, width)))
        bottom, right = (min(max(int(place * size) + own, 1), size) for place, size in ((y, height), (x, width)))
        for rows, columns in (
            (slice(top, top + thick), slice(left, right)),
            (slice(bottom - thick, bottom), slice(left, right)),
            (slice(top, bottom), slice(left, left + thick)),
            (slice(top, bottom), slice(right - thick, right)),
        ):
            found[rows, columns] = (color, color * 0.7, 0) if color else 0
    return found


def grid(maps: Tensor, columns: int = 8, min_side: int = 48) -> np.ndarray:
    """Return maps (C, h, w) as a picture of tiles, each from its minimum (dark) to its maximum: (H, W, 3) uint8.

    Of more than ``MAX_TILES`` maps the first are drawn.
    """
    shown = maps[:MAX_TILES].float()
    return _tile(mpl.colormaps["viridis"](_scale_tiles(shown))[..., :3], columns, min_side)


def filter_grid(filters: Tensor, columns: int = 16, min_side: int = 48) -> np.ndarray:
    """Return filters of a first convolution as a picture of tiles: (H, W, 3) uint8.

    Each filter is scaled from its minimum to its maximum. Filters of three channels are drawn in color, others as the
    mean over their channels in gray.

    >>> import torch
    >>> filter_grid(torch.zeros(16, 3, 7, 7), columns=8).shape
    (100, 406, 3)

    Args:
        filters: (filters, channels, h, w).
    """
    shown = filters[:MAX_TILES].float()
    if shown.shape[1] != 3:
        shown = shown.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    return _tile(_scale_tiles(shown).transpose(0, 2, 3, 1), columns, min_side)


def _scale_tiles(tiles: Tensor) -> np.ndarray:
    """Return each tile, all dimensions behind the first, from 0 (its minimum) to 1 (its maximum)."""
    flat = tiles.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    scaled: np.ndarray = ((flat - low) / (high - low).clamp_min(1e-12)).view(tiles.shape).numpy()
    return scaled


def _tile(tiles: np.ndarray, columns: int, min_side: int) -> np.ndarray:
    """Draw tiles (N, h, w, 3), 0 to 1, enlarged pixel by pixel, in rows with white lines between them."""
    factor = max(1, math.ceil(min_side / tiles.shape[2]))
    tiles = tiles.repeat(factor, 1).repeat(factor, 2)
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    height, width = tiles.shape[1:3]
    canvas = np.ones((rows * (height + 2) - 2, columns * (width + 2) - 2, 3))
    for number, tile in enumerate(tiles):
        y, x = (place * (size + 2) for place, size in zip(divmod(number, columns), (height, width), strict=True))
        canvas[y : y + height, x : x + width] = tile
    return (255 * canvas).round().astype(np.uint8)
