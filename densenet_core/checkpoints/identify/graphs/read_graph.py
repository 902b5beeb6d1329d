"""Identify the network of a graph of operations, such as that of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from densenet_core.arrays import Array
from densenet_core.checkpoints.formats.onnx.rules import FOLDED
from densenet_core.checkpoints.identify.by_structure import Asked, read_by_structure, shapes_of
from densenet_core.checkpoints.identify.concat_order import to_old_first
from densenet_core.checkpoints.identify.connectivity import ConcatSpec, observed_readings
from densenet_core.checkpoints.identify.graphs.channel_graph import ChannelWalk
from densenet_core.checkpoints.identify.graphs.difference import find_difference, find_mixed_norms
from densenet_core.checkpoints.identify.identified_by import (
    IdentifiedBy,
    ReadStateDict,
    check_values,
    describe_folding,
    tensors_of,
)
from densenet_core.checkpoints.identify.shapes.by_shape import (
    find_structure,
)
from densenet_core.checkpoints.identify.variants import (
    FOLDED_BIASES,
    TOGETHER,
    check_biases,
    without,
)
from densenet_core.errors import CheckpointError
from densenet_core.networks.densenet_spec import DenseNetSpec

RUNNING = "the running statistics of its batch norms: the graph was exported for training, which uses the batch's"


def read_graph(walk: ChannelWalk, tensors: Mapping[str, Array], in_channels: int) -> ReadStateDict:
    """Return the network of a graph of operations: a DenseNet if it is one, else its concatenations.

    Args:
        walk: a finished pass through the graph.
        tensors: in the order in which the graph uses them, under the names that the walk uses.

    Raises:
        CheckpointError: the graph concatenates nothing, or a tensor holds NaN or infinite values.
    """
    other = "it was read from a graph whose operations are not a DenseNet's"
    spec = walk.spec(in_channels, why=find_mixed_norms(walk) or other)
    check_values({key: tensors[key] for target in spec.targets for key in tensors_of(target)})
    folded = describe_folding(sum(key.endswith(f"{FOLDED}.weight") for key in tensors))
    found = ReadStateDict(spec, dict(tensors), "graph", (), spec.order, IdentifiedBy.GRAPH, caveats=folded)
    try:
        structure = find_structure(shapes_of(tensors), is_in_order=True)
        densenet = read_by_structure(tensors, structure, Asked("old_first", walk.norm_kind, has_graph=True))
    except CheckpointError:
        return found
    same = {(t.block, t.layer, t.weight) for t in spec.targets} == {reader[:3] for reader in structure.readers()}
    if not isinstance(densenet.spec, DenseNetSpec) or not same:
        if same and isinstance(densenet.spec, ConcatSpec) and spec.why == other:
            return replace(found, spec=replace(spec, why=densenet.spec.why))
        return found
    if difference := find_difference(walk, densenet.spec):
        return replace(found, spec=replace(spec, why=difference))
    try:
        check_biases(densenet.notes, spec.order)
        state = to_old_first(densenet.arrays, densenet.spec, observed_readings(spec, densenet.spec))
    except CheckpointError as error:
        return replace(found, spec=replace(spec, why=str(error)))
    # compared with the graph, except blur pooling
    assumed = without(densenet.assumed) if densenet.spec.blur_pool else ()
    if densenet.spec.norm == "batch_statistics":
        assumed = (*assumed, TOGETHER)
    elif walk.is_for_training:
        assumed = (*assumed, RUNNING)
    biases = (note for note in densenet.notes if FOLDED_BIASES in note)
    notes = (*biases, *walk.describe_epsilons())
    own = replace(densenet, arrays=state, order=spec.order, notes=notes, assumed=assumed)
    return replace(own, layout=found.layout, identified_by=found.identified_by, caveats=folded)
