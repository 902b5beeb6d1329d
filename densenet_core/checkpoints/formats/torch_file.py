"""Files of ``torch.save``, read without running what is in them."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.limits import MOST_PICKLE, CountedReads
from densenet_core.checkpoints.formats.tensors import checked_arrays
from densenet_core.errors import CheckpointError, first_line

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_WAY_OUT = "load it where it was made and save model.state_dict()"


def read_torch(file: Path) -> dict[str, Array]:
    """The state dict in a file of ``torch.save``, under any of ``WRAPPERS``.

    Raises:
        CheckpointError: the file is damaged, wants to run code, or holds no state dict of real tensors.
    """
    return checked_arrays(_unwrap(_content(file)))


def _content(file: Path) -> Any:
    try:
        if zipfile.is_zipfile(file):
            _check_archive(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch.load, on files that it then refuses anyway
            return _load(file)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(_pickle_problem(str(error))) from None
    except Exception as error:  # torch's readers raise many kinds on damaged files
        raise CheckpointError(f"the file is cut short or damaged: {first_line(error)}") from None


def _load(file: Path) -> Any:
    if zipfile.is_zipfile(file) and file.suffix != ".safetensors":  # torch.load goes by a path's ending
        return torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    with CountedReads(io.FileIO(file)) as stream:
        return torch.load(stream, map_location="cpu", weights_only=True)


def _check_archive(file: Path) -> None:
    """Refuses archives that ``torch.save`` does not write: compressed ones would be mapped as garbage, or be bombs."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise CheckpointError(f"the file is a TorchScript archive, which holds code: {_WAY_OUT}")
    if any(member.filename.endswith("/archive_format") for member in members):
        raise CheckpointError(f"the file is a .pt2 archive of torch.export, which holds a program: {_WAY_OUT}")
    if any(member.filename.endswith("data.pkl") and member.file_size > MOST_PICKLE for member in members):
        raise CheckpointError(f"its pickle is larger than {MOST_PICKLE:,} bytes, which no network needs: {_WAY_OUT}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError("the archive was compressed by another program: load it where it was made, save it anew")


def _pickle_problem(message: str) -> str:
    for line in message.splitlines():
        for sign in ("Unsupported global: GLOBAL ", "Trying to load unsupported GLOBAL ", "Unsupported class "):
            if sign in line:
                wanted = line.split(sign, 1)[1].split(" ", 1)[0]
                return f"the file wants to run code of its own ({wanted}), which is refused: {_WAY_OUT}"
    return f"the file is cut short, damaged or no plain state dict: {_WAY_OUT}"


def _unwrap(content: Any) -> dict[str, Tensor]:
    """The state dict inside what ``torch.save`` was given, under any of ``WRAPPERS``."""
    for _ in WRAPPERS:
        if not isinstance(content, Mapping):
            break
        inner = [content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"the file holds a {type(content).__name__}, not a state dict: save model.state_dict()")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(repr(str(key)) for key in list(content)[:5]) or "nothing"
        raise CheckpointError(f"the file holds no tensors, only {keys}: save model.state_dict()")
    return tensors
