"""The index of a folder of ``torch.distributed.checkpoint``: which part of which tensor lies where in which file."""

from __future__ import annotations

from typing import Any

from .output import Damaged, check_names
from .unpickle import Inert, Key

METADATA = "torch.distributed.checkpoint.metadata.Metadata"


def describe(metadata: Inert) -> dict[str, Any]:
    """Return [tensor, first index of the part along each axis, file, offset, length, shape of the tensor] of each part.

    Raises:
        Refused: the index is not of the form that torch writes.
    """
    state = metadata.state if isinstance(metadata.state, dict) else {}
    tensors, places = state.get("state_dict_metadata"), state.get("storage_data")
    if not isinstance(tensors, dict) or not isinstance(places, dict):
        raise Damaged("the index of the distributed checkpoint is damaged, or of another version of torch")
    pieces = []
    for key, place in places.items():
        index, info = _state(key.value if isinstance(key, Key) else key), _state(place)
        name = index.get("fqn")
        if not _is_tensor(tensors.get(name)):
            continue
        whole = list(_state(tensors[name]).get("size") or ())
        begin = list(index.get("offset") or [0] * len(whole))
        pieces.append([name, begin, info.get("relative_path"), info.get("offset"), info.get("length"), whole])
    check_names([str(piece[0]) for piece in pieces])
    return {"format": "distributed", "pieces": pieces}


def _state(value: Any) -> dict[str, Any]:
    state = value.state if isinstance(value, Inert) else None
    return state if isinstance(state, dict) else {}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Inert) and value.name.endswith(".TensorStorageMetadata")
