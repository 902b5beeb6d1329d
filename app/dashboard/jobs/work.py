"""The functions that jobs run: analysis only, without Streamlit.

Each takes ``report`` (called with the steps done and their number), the network or networks, and the task's options.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from app.dashboard.keys import ImagesKey, NetworkKey
from densenet_core import Checkpoint, DataError, load_checkpoint
from densenet_core.networks.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.prediction.lens import PooledParts
    from densenet_core.data.images import Images

MAX_FOR_SIMILARITY = 256  # images
PATHS_BEAM = 8  # ends that the search for strong paths keeps


class Report(Protocol):
    """How work reports: as ``worker.Reporter``."""

    def __call__(self, done: int, total: int) -> None:
        """Report that so many of all steps are done."""

    def show(self, result: Callable[[], Any]) -> None:
        """Report the result so far."""


def _measure(
    report: Report, network: Checkpoint, measures: tuple[str, ...], images: ImagesKey, keep_in: Path | None
) -> pd.DataFrame:
    from analysis.reuse.measuring import measure_reuse

    options: Any = {"on_batch": report, "keep_in": keep_in, "on_table": report.show}
    return measure_reuse(network, measures, _test_images(images), images.number, **options)


def _pruning(
    report: Report,
    network: Checkpoint,
    orders: tuple[str, ...],
    budget: str,
    images: ImagesKey,
    repair: str,
    keep_in: Path | None,
) -> pd.DataFrame:
    from analysis.reuse.baselines import PATTERNS
    from analysis.reuse.measuring import measure_reuse
    from analysis.reuse.pruning import pruning_curves
    from densenet_core.data.datasets import load_measuring_images
    from densenet_core.data.images import sample_evenly

    chosen_by, judged_by = load_measuring_images(images.dataset, images.root, images.normalize)
    measured = [order for order in orders if order not in PATTERNS]
    table = measure_reuse(network, measured, chosen_by, images.number, keep_in=keep_in)
    training = sample_evenly(chosen_by, images.number)
    how: dict[str, Any] = {"budget": budget, "num_images": images.number, "repair": repair, "training": training}
    return pruning_curves(network, table, orders, judged_by, **how, on_step=report)


def _claims(
    report: Report,
    network: Checkpoint,
    images: ImagesKey,
    beside: tuple[NetworkKey, ...],
    seeds: tuple[NetworkKey, ...],
) -> pd.DataFrame:
    from analysis.claims.claims import check_claims
    from analysis.claims.losses import training_images

    test = _test_images(images)
    train = training_images(images.dataset, images.normalize, images.root) if beside else None
    networks, others = ([load_checkpoint(own.name, **own.reading) for own in side] for side in (beside, seeds))
    return check_claims(network, test, networks, images.number, train, others)


def _gradients(report: Report, network: Checkpoint, images: ImagesKey) -> pd.DataFrame:
    from analysis.claims.gradient_flow import flow_beside_controls

    return flow_beside_controls(network, _test_images(images))


def _path_shares(report: Report, network: Checkpoint, images: ImagesKey) -> pd.DataFrame:
    from analysis.claims.gradient_flow import paths_beside_controls

    return paths_beside_controls(network, _test_images(images))


def _by_class(report: Report, network: Checkpoint, images: ImagesKey, keep_in: Path | None) -> pd.DataFrame:
    from analysis.prediction.by_class import reuse_by_class

    return reuse_by_class(network, _test_images(images), images.number, on_batch=report, keep_in=keep_in)


def _predict(report: Report, network: Checkpoint, images: ImagesKey) -> pd.DataFrame:
    from analysis.prediction.explain import predicted_classes

    return predicted_classes(network, _used_images(images))


def _lens(report: Report, network: Checkpoint, images: ImagesKey) -> PooledParts:
    from analysis.prediction.lens import pooled_parts

    return pooled_parts(network, _test_images(images), images.number, on_batch=report)


def _probes(report: Report, network: Checkpoint, images: ImagesKey) -> pd.DataFrame:
    from analysis.claims.losses import training_images
    from analysis.prediction.probes import linear_probes

    train = training_images(images.dataset, images.normalize, images.root)
    if train is None:
        raise DataError("a linear probe needs training images: put them in a folder train beside the folder test")
    return linear_probes(network, train, _test_images(images), num_test=images.number, on_batch=report)


def _similarity(
    report: Report, networks: Checkpoint | tuple[Checkpoint, Checkpoint], images: ImagesKey, *_: NetworkKey
) -> pd.DataFrame:
    from analysis.prediction.similarity import similarity_beside_untrained

    network, other = networks if isinstance(networks, tuple) else (networks, None)
    return similarity_beside_untrained(network, _test_images(images), other, images.number, report)


def _drives(
    report: Report, network: Checkpoint, images: ImagesKey, place: tuple[int, ...], channel: int | None
) -> pd.DataFrame:
    from analysis.prediction.feature_maps import Place, driving_images

    where: Any = Place(*place) if len(place) == 3 else place
    return driving_images(network, _test_images(images), where, channel, images.number, on_batch=report)


def _cuts(
    report: Report, network: Checkpoint, image: bytes, shape: tuple[int, ...], for_class: int, against: int | None
) -> pd.DataFrame:
    from analysis.prediction.decision import decision_connections

    return decision_connections(network, _unpack_image(image, shape), for_class, against, cut=True)


def _paths(report: Report, network: Checkpoint, image: bytes, shape: tuple[int, ...], for_class: int) -> pd.DataFrame:
    from analysis.prediction.decision import strongest_paths

    return strongest_paths(network, _unpack_image(image, shape), for_class, beam=PATHS_BEAM)


def _unpack_image(image: bytes, shape: tuple[int, ...]) -> Tensor:
    """Return the image of a task's options: float32 values and their shape."""
    import torch

    return torch.frombuffer(bytearray(image), dtype=torch.float32).view(shape)


def _latency(
    report: Report, network: None, names: tuple[str, ...], specs: tuple[Spec, ...], size: int, repeats: int, train: bool
) -> pd.DataFrame:
    from analysis.architecture.latency import measure_latency

    return measure_latency(dict(zip(names, specs, strict=True)), size, repeats=repeats, training=train)


def _used_images(images: ImagesKey) -> Images:
    """Return the images of the data set that the sidebar's number asks for."""
    from densenet_core.data.images import sample_evenly

    return sample_evenly(_test_images(images), images.number)


def _test_images(images: ImagesKey) -> Images:
    from densenet_core.data.datasets import load_test_images

    return load_test_images(images.dataset, images.root, images.normalize)


WORK: dict[str, Callable[..., Any]] = {
    "measured": _measure,
    "pruning": _pruning,
    "claims": _claims,
    "gradients": _gradients,
    "path_shares": _path_shares,
    "by_class": _by_class,
    "predicted": _predict,
    "lens": _lens,
    "probes": _probes,
    "similarity": _similarity,
    "drives": _drives,
    "cuts": _cuts,
    "paths": _paths,
    "latency": _latency,
}
