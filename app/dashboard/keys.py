"""Keys of networks and images: small, hashable names that change when the content does.

A result that is cached under such a key is never one of an older file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from densenet_core.checkpoints.formats.parts import files_of

if TYPE_CHECKING:
    from densenet_core.data.names import Normalization

CHECKPOINT_ENDINGS = (".safetensors", ".pt", ".pth", ".th", ".ckpt", ".tar", ".h5", ".keras", ".onnx")
Origin = Literal["file", "pretrained", "upload", "arch"]  # arch: an architecture without weights


class NetworkKey(NamedTuple):
    """A network: where it comes from, and a stamp of its content."""

    origin: Origin
    name: str  # a path, the name of pretrained weights or of an architecture, or the hash of an upload
    stamp: tuple[int, int] = (0, 0)  # of a file: modification time in ns, size in bytes; of several: both combined
    weights: str | None = None  # which weights of a file that holds several; None: the plain ones
    norm: str | None = None  # the kind of norms that its tensors do not show; None: as ``load_checkpoint`` assumes

    @property
    def reading(self) -> dict[str, Any]:
        """How its file is read: the options of ``load_checkpoint`` that are not the default."""
        return {name: value for name in ("weights", "norm") if (value := getattr(self, name)) is not None}

    @property
    def is_private(self) -> bool:
        """Whether the network belongs to one session: no other session sees it or what is computed from it."""
        return self.origin == "upload"


class ImagesKey(NamedTuple):
    """Test images: which data set, its folder, how it is normalized, and how many images are used."""

    dataset: str
    root: str
    normalize: Normalization | None
    number: int


def file_key(path: Path) -> NetworkKey:
    """Return the key of a checkpoint file, a run folder, or a network in several files, as it is now."""
    try:
        stamps = [(file.name, *stamp_of(file)) for file in files_of(path)]
    except OSError:
        return NetworkKey("file", str(path))  # loading it raises the error
    if len(stamps) == 1:
        return NetworkKey("file", str(path), stamps[0][1:])
    digest = hashlib.blake2b(repr(stamps).encode(), digest_size=8).digest()
    return NetworkKey("file", str(path), (int.from_bytes(digest), sum(size for *_, size in stamps)))


def stamp_of(file: Path) -> tuple[int, int]:
    """Return the modification time of a file in ns and its size in bytes."""
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size
