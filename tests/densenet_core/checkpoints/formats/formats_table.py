"""The table of docs/checkpoints.md: every kind of file that the tests read, and what comes of it."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from analysis import connection_weights
from densenet_core import Checkpoint, CheckpointError, checkpoint_from_state_dict, load_checkpoint
from densenet_core.checkpoints.identify.identified_by import BY_STRUCTURE
from densenet_core.checkpoints.identify.variants import without
from tests.conftest import trained_like
from tests.densenet_core.checkpoints.formats import test_containers, test_folders, test_odd_files
from tests.densenet_core.checkpoints.formats.foreign import ForeignDenseNet
from tests.densenet_core.checkpoints.identify import (
    test_biases,
    test_derived,
    test_layouts,
    test_norm_kinds,
    test_quantized,
    test_variants,
)
from tests.densenet_core.checkpoints.identify.handmade.norms import filled
from tests.densenet_core.checkpoints.identify.shapes import test_plain_names
from tests.densenet_core.checkpoints.identify.test_relatives_of_densenet import RDNet, Tiramisu

HEADER = ("what the file holds", "recognized by", "table", "scores", "why there are no scores, or what they assume")


def markdown() -> str:
    """Return the table in Markdown."""
    lines = [HEADER, tuple("---" for _ in HEADER), *rows()]
    return "\n".join(f"| {' | '.join(cell.replace('|', '') for cell in line)} |" for line in lines)


def rows() -> Iterator[tuple[str, ...]]:
    """Yield a line of the table for every kind of file."""
    torch.manual_seed(0)
    for title, read in _cases():
        found = read()
        by = "shapes" if found.layout == BY_STRUCTURE else f"names ({found.layout})"
        scores, why = _outcome(found.to_model)
        yield title, by, _outcome(lambda found=found: connection_weights(found))[0], scores, why or _assumed(found)


def _assumed(found: Checkpoint) -> str:
    return "; ".join(without(found.assumed))  # the operations that shapes do not show are the same for all


def _outcome(compute: Callable[[], object]) -> tuple[str, str]:
    try:
        compute()
    except CheckpointError as error:
        return "no", str(error).partition("is known: ")[2] or str(error)
    return "yes", ""


def _cases() -> Iterator[tuple[str, Callable[[], Checkpoint]]]:
    for name, (_, spec, renamed) in test_layouts.CASES.items():
        state = {renamed(key): tensor for key, tensor in trained_like(spec).state_dict().items()}
        yield name, lambda state=state: checkpoint_from_state_dict(state)
    yield "a plain DenseNet with other names", lambda: checkpoint_from_state_dict(ForeignDenseNet().state_dict())
    for name, derive in test_derived.DERIVED.items():
        yield f"derived weights: {name}", lambda derive=derive: checkpoint_from_state_dict(_derived(derive))
    for name, options in test_biases.CASES.items():
        state = test_biases.Biased(**options).state_dict()
        yield f"biases in all convolutions, {name}", lambda state=state: checkpoint_from_state_dict(state)
    for name, quantize in test_quantized.DYNAMIC.items():
        state = quantize(trained_like(test_quantized.SPEC)).state_dict()
        yield f"quantized classifier, {name}", lambda state=state: checkpoint_from_state_dict(state)
    for name, (options, _) in test_odd_files.CASES.items():
        state = test_odd_files.Hand(**options).state_dict()
        yield name, lambda state=state: checkpoint_from_state_dict(state)
    for name in test_variants.CASES:
        yield name, lambda name=name: checkpoint_from_state_dict(test_variants.handmade(name).state_dict())
    for name, (norm, module, told, _, _) in test_norm_kinds.CASES.items():
        state = filled(norm, name=module).state_dict()
        yield name, lambda state=state, told=told: checkpoint_from_state_dict(state, norm=told)
    for name, state in test_plain_names.FILES.items():
        yield name, lambda state=state: checkpoint_from_state_dict(state())
    for model in (Tiramisu, RDNet):
        yield model.__name__, lambda model=model: checkpoint_from_state_dict(model().state_dict())
    for name, make in {**_containers(), **test_folders.ARRAYS, **_folders()}.items():
        yield name, lambda make=make: _read(make)


def _derived(derive: Callable[[torch.nn.Module], torch.nn.Module]) -> dict[str, torch.Tensor]:
    model = ForeignDenseNet()
    for part in [part for part in model.modules() if isinstance(part, torch.nn.Conv2d)]:
        derive(part)
    return model.state_dict()


def _containers() -> dict[str, Callable[[Path], Path]]:
    model = trained_like(test_containers.SPEC)

    def saved(content: object) -> Callable[[Path], Path]:
        def make(folder: Path) -> Path:
            torch.save(content, folder / "a.pth")
            return folder / "a.pth"

        return make

    def pickled(folder: Path) -> Path:
        (folder / "a.pkl").write_bytes(pickle.dumps(model.state_dict()))
        return folder / "a.pkl"

    kinds = ("pairs", "a list of names beside", "a dataclass")
    found = {f"torch.save of {kind}": saved(test_containers.CONTAINERS[kind](model)) for kind in kinds}
    unnamed = test_containers.UNNAMED_TENSORS["all"](model.state_dict())
    return {**found, "torch.save of tensors without names": saved(unnamed), "a plain pickle": pickled}


def _folders() -> dict[str, Callable[[Path], Path]]:
    def split(folder: Path) -> Path:
        test_folders.split_over_two_processes(folder)
        return folder

    shards = {
        f"Hugging Face, {name} in shards": lambda folder, name=name: (
            test_folders.sharded(folder, name, test_folders.SHARDED[name]).parent
        )
        for name in test_folders.SHARDED
    }
    return {**shards, "torch.distributed.checkpoint": split}


def _read(make: Callable[[Path], Path]) -> Checkpoint:
    with tempfile.TemporaryDirectory() as folder:
        return load_checkpoint(make(Path(folder)))
