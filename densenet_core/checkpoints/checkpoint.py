"""Checkpoints: read safely from untrusted files, written as safetensors with the spec and the record inside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densenet_core.arrays import Array, as_array, as_tensor
from densenet_core.checkpoints.formats.content import FileContent
from densenet_core.checkpoints.formats.folders import RUN_WEIGHTS as RUN_WEIGHTS
from densenet_core.checkpoints.formats.keras_file import KerasLayout, check_keras_layout
from densenet_core.checkpoints.formats.read import open_content
from densenet_core.checkpoints.formats.safetensors_file import read_safetensors
from densenet_core.checkpoints.identify.concat_order import FoundOrder, Order
from densenet_core.checkpoints.identify.connectivity import ConcatSpec
from densenet_core.checkpoints.identify.identified_by import IdentifiedBy, ReadStateDict
from densenet_core.checkpoints.identify.state_dict import read_state_dict
from densenet_core.checkpoints.identify.variants import without
from densenet_core.checkpoints.metadata import METADATA_KEY, format_metadata, parse_metadata
from densenet_core.checkpoints.read_network import About, FileFacts, read_network
from densenet_core.errors import CheckpointError, OpenNormsError, SeveralNetworksError, reworded
from densenet_core.files import open_file, write_whole
from densenet_core.networks.layers import parse_norm
from densenet_core.networks.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from densenet_core.networks.network import Network

MAX_MESSAGE = 1000  # characters of an error message


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """A trained network: its architecture, its weights under torchvision's names, and the record of its training.

    >>> from densenet_core import load_zoo
    >>> load_zoo("densenet-40-12-digits")
    <Checkpoint: DenseNet (L=40, k=12), 236 tensors, trained on 'Digits (8x8)'>

    Args:
        spec: the architecture, or a ``ConcatSpec`` of a network that can't be built (see ``architecture``).
        weights: tensors or arrays by torchvision's names; ``state_dict`` has tensors, ``arrays`` NumPy arrays.
        record: data set, recipe, seed, epochs, error, hardware; empty if the file has none.
        layout: the naming scheme of the file.
        ignored: names of tensors in the file that are not part of the network.
        order: the order in which the file's network concatenates; None if it is not known.
        identified_by: what identified the network: metadata, names, shapes or a graph.
        notes: what was computed or assumed when the tensors were read.
        held: what else the file holds.
        assumed: what the scores depend on and the file does not show.
        caveats: why the network may compute with other weights than these.
    """

    spec: Spec | ConcatSpec
    weights: Mapping[str, Tensor | Array]  # a state dict in torchvision's names, of tensors or arrays
    record: dict[str, Any] = field(default_factory=dict)  # data set, recipe, seed, epochs, error, hardware
    layout: str = "torchvision"  # the naming scheme of the file
    ignored: tuple[str, ...] = ()  # tensors in the file that are not part of the network
    order: FoundOrder | None = None  # in which the file's network concatenated; None: not visible; ours: old first
    identified_by: IdentifiedBy = IdentifiedBy.NAMES
    notes: tuple[str, ...] = ()  # what was computed or assumed when the tensors were read
    held: FileFacts | None = None  # what else is in the file that it was read from
    assumed: tuple[str, ...] = ()  # what its scores depend on and the file does not show, in words
    caveats: tuple[str, ...] = ()  # why the network may compute with other weights than these, in words

    def __repr__(self) -> str:
        trained = f", trained on {self.record['dataset']!r}" if self.record.get("dataset") else ""
        return f"<Checkpoint: {self.spec.title}, {len(self.weights)} tensors{trained}>"

    @cached_property
    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights as tensors."""
        return {key: as_tensor(weights) for key, weights in self.weights.items()}

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Return the weights as numpy arrays, in float32 where numpy lacks the type (bfloat16, 8-bit floats)."""
        return {key: as_array(weights) for key, weights in self.weights.items()}

    @property
    def architecture(self) -> Spec:
        """Return the spec of a network that can be built.

        Raises:
            OpenNormsError: only its concatenations are known, because the file does not show the kind of its norms.
            CheckpointError: only its concatenations are known, for another reason.
        """
        if isinstance(self.spec, ConcatSpec):
            kind = OpenNormsError if self.spec.is_norm_open else CheckpointError
            raise kind(f"of this {self.spec.title} only the feature reuse is known: {self.spec.why}")
        return self.spec

    def to_model(self) -> Network:
        """Return the network with these weights, in evaluation mode.

        Raises:
            CheckpointError: only its concatenations are known.
        """
        import torch

        from densenet_core.networks.build import build_model

        with torch.device("meta"):
            model = build_model(self.architecture)
        counters = {key: torch.tensor(0) for key in model.state_dict() if key.endswith("num_batches_tracked")}
        model.to_empty(device="cpu").load_state_dict(counters | self.state_dict)  # files from before 2018 have none
        return model.eval()

    @property
    def num_params(self) -> int:
        """Return the number of trained weights, without the running statistics of batch norms and masks."""
        buffers = ("running_mean", "running_var", "num_batches_tracked", "mask")
        return sum(array.size for key, array in self.arrays.items() if not key.endswith(buffers))


def load_checkpoint(
    path: str | os.PathLike[str],
    order: Order | None = None,
    weights: str | None = None,
    keras_layout: KerasLayout | None = None,
    norm: str | None = None,
) -> Checkpoint:
    """Read a trained network from a file or folder.

    The format is detected from the content, not the extension. Nothing in the file is run: a sandboxed process parses
    it, and this process reads only the bytes of the network's tensors. A network that concatenates but can't be built
    here has a ``ConcatSpec``, which suffices for its feature-reuse table.

    Args:
        path: a file written by safetensors, ``torch.save`` (a state dict at any depth, or a whole module), Keras, ONNX
            or numpy; a run folder; a Hugging Face folder or one written by ``torch.distributed.checkpoint``.
        order: the order in which the network concatenates: "old_first", as in torchvision, or "new_first". By default
            it is read from the running statistics of the batch norms, or "old_first" is assumed if they do not show
            it. A network that puts new maps first is converted to old maps first, which computes the same.
        weights: the set of weights to read if the file holds several: its name, such as "state_dict_ema", or the first
            part of its tensors' names, such as "student". By default, the plain weights of the only network.
        keras_layout: the layout of the kernels in a Keras file: "tensorflow", (height, width, in, out), or "theano",
            (out, in, height, width) and flipped, as Keras 1 could write. By default, it follows from the file's
            configuration, or else from the shapes of the kernels.
        norm: the kind of norms without running statistics, which tensors do not show: "group-16" (for 16 groups),
            "layer", "instance" or "batch_statistics". By default, it follows from their names, or else group norms of
            32 groups are assumed, if these fit; ``Checkpoint.assumed`` lists the assumption.

    Raises:
        CheckpointError: the file does not exist, is damaged, would run code, or does not contain such a network.
        ValueError: `norm` is unknown.
        SeveralNetworksError: it holds several networks, and `weights` names none of them.

    >>> load_checkpoint("densenet_lens_demo.safetensors").spec.title  # doctest: +SKIP
    'DenseNet-BC (L=40, k=12)'
    """
    if not os.fspath(path):
        raise CheckpointError("the path is empty: give a checkpoint file or a run folder")
    place = Path(path)
    if norm is not None:
        parse_norm(norm)
    try:
        with closing(open_content(place)) as content:
            return _read(content, weights, keras_layout, {"order": order, "norm": norm})
    except SeveralNetworksError:
        raise
    except CheckpointError as error:
        words = str(error)
        if len(words) > MAX_MESSAGE:  # names in a file may be of any length
            words = f"{words[:MAX_MESSAGE]} …"
        raise reworded(error, f"{place.name or place.resolve().name or place}: {words}") from error
    except OSError as error:
        raise CheckpointError(f"can't read {str(path)!r}: {error.strerror or error}") from error


def read_header(path: str | os.PathLike[str]) -> tuple[Spec, dict[str, Any]]:
    """Read the spec and record of a file or run folder that ``save_checkpoint`` wrote, without its tensors.

    Raises:
        CheckpointError: the file does not exist, is damaged, or was not written by ``save_checkpoint``.
    """
    file = Path(path)
    file = file / RUN_WEIGHTS if file.is_dir() else file
    if not file.is_file():
        raise CheckpointError(f"there is no run or file {str(file)!r}")
    try:
        with open_file(file) as stream:
            metadata = read_safetensors(stream).about["metadata"]
    except (CheckpointError, OSError) as error:
        raise CheckpointError(f"can't read {str(file)!r}: {error}") from error
    if METADATA_KEY not in metadata:
        raise CheckpointError(f"{str(file)!r} has no record: it was not written by save_checkpoint")
    return parse_metadata(metadata[METADATA_KEY])[:2]


def checkpoint_from_state_dict(
    tensors: Mapping[str, Tensor],
    record: dict[str, Any] | None = None,
    order: Order | None = None,
    norm: str | None = None,
) -> Checkpoint:
    """Return a checkpoint for a state dict in memory, in any layout; ``order`` and ``norm`` as in ``load_checkpoint``.

    >>> from densenet_core import create_model
    >>> checkpoint_from_state_dict(create_model("densenet-10-4").state_dict()).spec.title
    'DenseNet (L=10, k=4)'

    Raises:
        CheckpointError: the tensors are not the weights of a DenseNet or ResNet.
    """
    from densenet_core.checkpoints.formats.tensors import to_arrays

    found = read_state_dict(to_arrays(tensors), order=order, norm=norm)
    return _checkpoint(found, record or {})


def save_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Write a safetensors file with the spec and the record in its metadata; ``load_checkpoint`` restores them.

    The file is written atomically: under a temporary name beside ``path``, then renamed.

    >>> from tempfile import mkdtemp
    >>> from densenet_core import load_checkpoint, load_zoo
    >>> file = mkdtemp() + "/network.safetensors"
    >>> save_checkpoint(load_zoo("densenet-40-12-digits"), file)
    >>> load_checkpoint(file).record["dataset"]
    'Digits (8x8)'
    """
    from safetensors.torch import save

    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    words = {"assumed": checkpoint.assumed, "caveats": checkpoint.caveats}
    about = format_metadata(checkpoint.architecture, checkpoint.record, **words)
    tensors = {key: tensor.clone().contiguous() for key, tensor in checkpoint.state_dict.items()}
    content = save(tensors, {METADATA_KEY: about})
    write_whole(file, lambda temporary: temporary.write_bytes(content))


def _read(content: FileContent, weights: str | None, keras_layout: KerasLayout | None, about: About) -> Checkpoint:
    """Read a network of a file; ``about`` are the caller's ``order`` and ``norm``."""
    check_keras_layout(content, keras_layout)
    metadata = content.about.get("metadata", {})
    if METADATA_KEY in metadata:
        return _read_own(content, *parse_metadata(metadata[METADATA_KEY]))
    found, held = read_network(content, weights, keras_layout, about)
    return replace(_checkpoint(found, {}), held=held)


def _read_own(content: FileContent, spec: Spec, record: dict[str, Any], words: dict[str, Any]) -> Checkpoint:
    """Read a file that ``save_checkpoint`` wrote."""
    try:
        found = read_state_dict(content.arrays(content.candidates[0]), spec)
    except CheckpointError as error:
        raise CheckpointError(f"the metadata say {spec.title}, but {error}") from error
    read = replace(_checkpoint(found, record), identified_by=IdentifiedBy.METADATA, **words)
    return replace(read, held=FileFacts(content.format))


def _checkpoint(found: ReadStateDict, record: dict[str, Any]) -> Checkpoint:
    about = (found.layout, found.ignored, found.order, found.identified_by, found.notes)
    assumed = without(found.assumed) if isinstance(found.spec, ConcatSpec) else found.assumed  # it has no scores
    return Checkpoint(found.spec, found.arrays, record, *about, assumed=assumed, caveats=found.caveats)
