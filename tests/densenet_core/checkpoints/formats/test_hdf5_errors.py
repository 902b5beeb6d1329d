"""What can't be read of an HDF5 file is named: the tensor, and whether it is packed, text or damaged."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densenet_core import CheckpointError, load_checkpoint

h5py = pytest.importorskip("h5py")
KERNEL = np.random.default_rng(0).normal(size=(3, 3, 8, 4)).astype("f4")
PLUGIN = 32_015  # Zstandard, which h5py does not contain


def packed(stream: Any, content: bytes) -> None:
    """Add a kernel of one chunk, which is stored as ``content``."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((64, 64))
    plan.set_deflate(4)
    space = h5py.h5s.create_simple((64, 64))
    item = h5py.h5d.create(stream.id, b"kernel:0", h5py.h5t.IEEE_F32LE, space, plan)
    item.write_direct_chunk((0, 0), content)


def a_bomb(stream: Any) -> None:
    packer = zlib.compressobj(9)
    first, again = (packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    packed(stream, first + 999 * again + packer.flush())


def a_plugin(stream: Any) -> None:
    packed(stream, bytes(100))


def damaged_pieces(stream: Any) -> None:
    packed(stream, zlib.compress(bytes(64 * 64 * 4))[:-5])


def text_in_place_of_scales(stream: Any) -> None:
    stream["conv/kernel:0"] = KERNEL
    stream["bn/gamma:0"] = np.array([b"0.1", b"0.2", b"0.3", b"0.4"])


def text_of_varying_length(stream: Any) -> None:
    stream["conv/kernel:0"] = ["one", "two"]


def references(stream: Any) -> None:
    stream["conv/kernel:0"] = KERNEL
    stream.create_dataset("conv/bias:0", data=stream["conv/kernel:0"].ref, dtype=h5py.ref_dtype)


def bits(stream: Any) -> None:
    h5py.h5d.create(stream.id, b"kernel:0", h5py.h5t.STD_B8LE, h5py.h5s.create_simple((4,)))


def nothing(stream: Any) -> None:
    stream["conv/kernel:0"] = h5py.Empty("f4")


CASES: dict[Callable[[Any], None], str] = {
    a_bomb: "its compressed content unpacks to far more than its size: save it uncompressed",
    a_plugin: rf"'kernel:0' is compressed by filter {PLUGIN} \('deflate'\), which is not installed here: save the net",
    damaged_pieces: "the packed content of tensor 'kernel:0' is damaged: copy or download it again",
    text_in_place_of_scales: "'bn/gamma:0' is text: floating point is needed",
    text_of_varying_length: "'conv/kernel:0' is text: floating point is needed",
    references: "'conv/bias:0' is a reference: floating point is needed",
    bits: "'kernel:0' is a set of bits: floating point is needed",
    nothing: "'conv/kernel:0' holds no numbers",
}


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_what_is_wrong_is_named(make: Callable[[Any], None], tmp_path: Path) -> None:
    file = tmp_path / "network.h5"
    with h5py.File(file, "w") as stream:
        make(stream)
    if make is a_plugin:  # HDF5 writes no filter that it does not know: give deflate another number
        content = file.read_bytes()
        place = content.index(b"deflate") - 8  # behind the number: lengths, flags and how many values
        assert content[place : place + 2] == b"\1\0"
        file.write_bytes(content[:place] + PLUGIN.to_bytes(2, "little") + content[place + 2 :])
    with pytest.raises(CheckpointError, match=CASES[make]):
        load_checkpoint(file)


def test_an_epsilon_that_is_no_float_does_not_hide_the_weights(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "network.h5", "w") as stream:
        stream["conv/kernel:0"] = KERNEL
        stream.attrs["model_config"] = '{"name": "bn", "epsilon": 1' + "0" * 400 + "}"
    with pytest.raises(CheckpointError, match="its shapes are not"):
        load_checkpoint(tmp_path / "network.h5")
