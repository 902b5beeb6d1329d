"""What the file of a figure says about itself: its networks, the hashes of their weights, and how to make it again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.text import one_line, suite_version

if TYPE_CHECKING:
    from analysis.figures.export import Facts
    from densenet_core import Checkpoint


def weights_hash(network: Checkpoint) -> str:
    """Return the SHA-256 of a network's weights, names and values, in the order of their names."""
    digest = hashlib.sha256()
    for name, array in sorted(network.arrays.items()):
        digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def figure_facts(figure: str, hashes: Mapping[str, str], made_by: str) -> Facts:
    """Return the facts of a figure's file, for ``with_facts``.

    Args:
        figure: its name.
        hashes: of the weights, as ``weights_hash`` returns them, by the networks' names.
        made_by: the command, or the Python, that makes it again.
    """
    from analysis.figures.export import Facts

    names = {one_line(name): sha for name, sha in hashes.items()}
    networks = "".join(f"Network {name}, SHA-256 of its weights {sha}.\n" for name, sha in names.items())
    title = f"{figure}: {', '.join(names)}" if names else figure
    return Facts(title, f"{networks}Made again by:\n{made_by}", f"DenseNet Lens {suite_version()}")
