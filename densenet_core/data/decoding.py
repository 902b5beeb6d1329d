"""Decode image files into upright RGB images of 8 bits: the one way for data sets and for single images.

An ordinary RGB image stays as it is, bit by bit. The orientation in EXIF is applied, transparent pixels become white,
of 16 bits the upper 8 are taken, and of an animation the first frame.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from PIL import Image

from densenet_core.errors import FileError

ORIENTATION = 274  # EXIF's tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")


def decode_image(image: Image.Image) -> Image.Image:
    """Return an image that Pillow opened, and has not decoded yet, as an upright one in RGB.

    >>> decode_image(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).getpixel((0, 0))
    (255, 255, 255)

    Raises:
        FileError: its pixels are floating-point numbers, or integers outside 0..65535.
        Exception: damaged files make Pillow's readers raise any kind.
    """
    key = _transparent_color(image)
    image.load()  # before the orientation is read: Pillow itself turns TIFF images then
    image = _turn_upright(image)
    if image.mode == "F":
        raise FileError("its pixels are floating-point numbers: save it with 8 bits per channel")
    if image.mode.startswith("I"):
        return _decode_gray(np.asarray(image), key)
    if image.mode in WITH_ALPHA or (image.mode == "P" and key is not None):
        return _lay_over_white(image)
    image.info.pop("transparency", None)
    rgb = image.convert("RGB")
    return rgb if key is None else _make_white(rgb, key)


def _transparent_color(image: Image.Image) -> Any:
    """Return the color that is transparent, in the units of the decoded pixels, or None.

    PNG files name it (chunk tRNS) in the units of the file, and Pillow scales the pixels but not the color.
    """
    key: Any = image.info.get("transparency")
    tiles: Any = getattr(image, "tile", None)
    stored = tiles[0][3] if image.format == "PNG" and tiles else None  # the pixels in the file, such as "L;4"
    match stored, key:
        case "1", int():
            return 255 if key else 0
        case (("L;2" | "L;4"), int()):
            return key * (85 if stored == "L;2" else 17)
        case "RGB;16B", tuple():
            return tuple(value >> 8 for value in key)
    return key


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            orientation: Any = image.getexif().get(ORIENTATION)
            turn = TURNS.get(orientation)
    except Exception:  # of any kind: damaged EXIF data do not hide the image
        return image
    return image if turn is None else image.transpose(turn)


def _decode_gray(gray: np.ndarray, key: Any) -> Image.Image:
    """Return 16-bit gray as RGB; Pillow itself would cut values above 255."""
    if gray.min() < 0 or gray.max() > 65_535:
        raise FileError("its pixels are not in the range 0..65535: save it with 8 or 16 bits per channel")
    pixels = (gray >> 8).astype(np.uint8)
    if isinstance(key, int):
        pixels[gray == key] = 255
    return Image.fromarray(pixels).convert("RGB")


def _lay_over_white(image: Image.Image) -> Image.Image:
    colored = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colored).convert("RGB")


def _make_white(image: Image.Image, key: Any) -> Image.Image:
    """Return an RGB image with the pixels of this color, a gray level or three channels, in white."""
    pixels = np.array(image)
    if isinstance(key, int | tuple):
        pixels[(pixels == np.array(key)).all(axis=2)] = 255
    return Image.fromarray(pixels)
