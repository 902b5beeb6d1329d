"""CIFAR-10's images from an archive of JPEG files, decoded by many processes into uint8 tensors."""

from __future__ import annotations

import io
import os
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from densenet_core.data.augmentation import CIFAR_AUGMENTATION
from densenet_core.data.datasets import DataSplits
from densenet_core.data.images import TensorImages

TITLE = "CIFAR-10 (JPEG)"


def read_archive(file: Path, processes: int | None = None) -> DataSplits:
    """Return the images of a tar file with the folders train/CLASS and test/CLASS; the training images augmented."""
    found: dict[str, list[tuple[str, bytes]]] = {"train": [], "test": []}
    with tarfile.open(file) as archive:
        for member in archive:
            if member.isfile() and (content := archive.extractfile(member)):
                split, name = Path(member.name).parts[-3:-1]
                found[split].append((name, content.read()))
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        files = {split: [data for _, data in own] for split, own in found.items()}
        pixels = {split: np.stack([*pool.map(_decode, own, chunksize=500)]) for split, own in files.items()}
    names = tuple(sorted({name for name, _ in found["train"]}))
    parts = {}
    for split, stacked in pixels.items():  # (N, H, W, 3)
        labels = torch.tensor([names.index(name) for name, _ in found[split]])
        images = torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()
        parts[split] = TensorImages(images, labels, names, "cifar10", CIFAR_AUGMENTATION if split == "train" else None)
    return DataSplits(TITLE, parts["train"], None, parts["test"])


def _decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
