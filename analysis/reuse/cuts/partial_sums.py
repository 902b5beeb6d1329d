"""Sums over images that are saved after every batch, so that an interrupted measurement resumes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from densenet_core import Checkpoint
from densenet_core.data.images import Images, hash_images
from densenet_core.errors import own_words
from densenet_core.files import read_small, write_whole

logger = logging.getLogger(__name__)
DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


class PartialSums:
    """Sums over the first ``done`` images, values of each of them, and the file that keeps both.

    >>> sums = PartialSums(None, num_images=10, shape=(2,))
    >>> sums.add(4, np.array([1.0, 2.0]))
    >>> sums.done, sums.total.tolist()
    (4, [1.0, 2.0])

    Args:
        file: An .npz file to resume from, and to write; it may not exist yet. None: nothing is kept.
        num_images: The number of images of the whole measurement.
        shape: Of the sums.
        width: The number of values of each image.
    """

    def __init__(self, file: Path | None, num_images: int, shape: tuple[int, ...], width: int = 0) -> None:
        self.file, self.done, self.total = file, 0, np.zeros(shape)
        # (images, width); None where the file was written before values were kept
        self.each: np.ndarray | None = np.zeros((0, width), np.float32)
        if file is not None and file.exists():
            self._restore(file, num_images)

    def add(self, num_images: int, sums: np.ndarray, each: np.ndarray | None = None) -> None:
        """Add the sums over the next images and the values of each, ``(num_images, width)``, and save them."""
        self.done += num_images
        self.total += sums
        if self.each is not None and each is not None:
            self.each = np.concatenate([self.each, each.astype(np.float32)])
        if self.file is not None:
            self._save(self.file)

    def _restore(self, file: Path, num_images: int) -> None:
        """Read the file; a damaged one is removed."""
        shape, width = self.total.shape, 0 if self.each is None else self.each.shape[1]
        try:
            content = read_small(file, 2**16 + 8 * math.prod(shape) + 4 * num_images * width)
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                done, total = int(arrays["done"]), arrays["sums"]
                each = arrays.get("each")
            if each is not None and (each.shape != (done, width) or not np.isfinite(each).all()):
                raise ValueError("its values do not fit the measurement")
            if not 0 <= done <= num_images or total.shape != shape or not np.isfinite(total).all():
                raise ValueError("its content does not fit the measurement")
        except DAMAGE as error:
            reason = own_words(error, "it can't be read")
            logger.warning("%s is damaged (%s): it is removed, and measured again", file, reason)
            with contextlib.suppress(OSError):
                file.unlink()
        else:
            self.done, self.total, self.each = done, total, each

    def _save(self, file: Path) -> None:
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {"done": self.done, "sums": self.total}
        if self.each is not None and self.each.size:
            arrays["each"] = self.each
        np.savez(buffer, **arrays)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, lambda temporary: temporary.write_bytes(buffer.getvalue()))
        except OSError as error:  # such as a full disk: the measurement continues
            logger.warning("can't keep the measurement in %s: %s", file, error.strerror)


def measurement_file(
    folder: Path | None, kind: str, options: str, checkpoint: Checkpoint, images: Images
) -> Path | None:
    """Return the file in ``folder`` for one measurement, named by a hash of its options, its weights and its images.

    Raises:
        OSError: a photograph is gone.
    """
    if folder is None:
        return None
    digest = hashlib.sha256(f"{options} {len(images)}".encode())
    for key, tensor in checkpoint.state_dict.items():
        digest.update(key.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    digest.update(hash_images(images))
    return folder / f"{kind}-{digest.hexdigest()[:32]}.npz"
