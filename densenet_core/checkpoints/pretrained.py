"""torchvision's DenseNets pretrained on ImageNet: downloaded once, then read like any other file."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import URLError

from densenet_core.checkpoints.checkpoint import Checkpoint, load_checkpoint
from densenet_core.errors import CheckpointError, own_words

PRETRAINED_NAMES = ("densenet121", "densenet161", "densenet169", "densenet201")


def load_pretrained(name: str) -> Checkpoint:
    """Return a network of torchvision, pretrained on ImageNet, from PyTorch's download cache or the internet.

    Args:
        name: one of ``PRETRAINED_NAMES``, such as "densenet121".

    Raises:
        CheckpointError: the name is not one of ``PRETRAINED_NAMES``, or the file can't be downloaded.
    """
    from torchvision.models import get_model_weights

    if name not in PRETRAINED_NAMES:
        raise CheckpointError(f"unknown pretrained network {name!r}: torchvision has {', '.join(PRETRAINED_NAMES)}")
    weights = get_model_weights(name).DEFAULT
    return load_checkpoint(_download(weights.url, name))


def _download(url: str, name: str) -> Path:
    import torch

    file = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(url)
    if not file.exists():
        hash_prefix = file.stem.rsplit("-", 1)[-1]  # torchvision's names end in the file's SHA-256
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix, progress=False)
        except (URLError, OSError, RuntimeError) as error:
            reason = own_words(getattr(error, "reason", error), "the server did not send them")
            raise CheckpointError(
                f"the weights of {name} can't be downloaded ({reason}): "
                f"download {url} elsewhere and open that file, or put it into {file.parent}"
            ) from error
    return file
