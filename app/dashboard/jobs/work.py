"""The functions that jobs run: analysis only, without Streamlit.

Each takes ``report`` (called with the steps done and their number), the network, and the task's options.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from app.dashboard.keys import ImagesKey, NetworkKey
from densenet_core import Checkpoint, load_checkpoint
from densenet_core.networks.spec import Spec

if TYPE_CHECKING:
    from densenet_core.data.images import Images

Report = Callable[[int, int], None]


def _measured(
    report: Report, network: Checkpoint, measures: tuple[str, ...], images: ImagesKey, keep_in: Path | None
) -> pd.DataFrame:
    from analysis.reuse.measuring import measure_reuse

    return measure_reuse(network, measures, _test_images(images), images.number, on_batch=report, keep_in=keep_in)


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
    from densenet_core.data.images import evenly_spaced

    chosen_by, judged_by = load_measuring_images(images.dataset, images.root, images.normalize)
    measured = [order for order in orders if order not in PATTERNS]
    table = measure_reuse(network, measured, chosen_by, images.number, keep_in=keep_in)
    training = evenly_spaced(chosen_by, images.number)
    how: dict[str, Any] = {"budget": budget, "num_images": images.number, "repair": repair, "training": training}
    return pruning_curves(network, table, orders, judged_by, **how, on_step=report)


def _claims(report: Report, network: Checkpoint, images: ImagesKey, beside: NetworkKey | None) -> pd.DataFrame:
    from analysis.claims.claims import check_claims
    from analysis.claims.generalization import training_images

    test = _test_images(images)
    if beside is None:
        return check_claims(network, test, num_images=images.number)
    train = training_images(images.dataset, images.normalize, images.root)
    return check_claims(network, test, load_checkpoint(beside.name, weights=beside.weights), images.number, train)


def _gradients(report: Report, network: Checkpoint, images: ImagesKey) -> pd.DataFrame:
    from analysis.claims.gradient_flow import flow_beside_controls

    return flow_beside_controls(network, _test_images(images))


def _path_shares(report: Report, network: Checkpoint, images: ImagesKey) -> pd.DataFrame:
    from analysis.claims.gradient_flow import paths_beside_controls

    return paths_beside_controls(network, _test_images(images))


def _by_class(report: Report, network: Checkpoint, images: ImagesKey, keep_in: Path | None) -> pd.DataFrame:
    from analysis.prediction.by_class import reuse_by_class

    return reuse_by_class(network, _test_images(images), images.number, on_batch=report, keep_in=keep_in)


def _latency(
    report: Report, network: None, names: tuple[str, ...], specs: tuple[Spec, ...], size: int, repeats: int, train: bool
) -> pd.DataFrame:
    from analysis.architecture.latency import measure_latency

    return measure_latency(dict(zip(names, specs, strict=True)), size, repeats=repeats, training=train)


def _test_images(images: ImagesKey) -> Images:
    from densenet_core.data.datasets import load_test_images

    return load_test_images(images.dataset, images.root, images.normalize)


WORK: dict[str, Callable[..., Any]] = {
    "measured": _measured,
    "pruning": _pruning,
    "claims": _claims,
    "gradients": _gradients,
    "path_shares": _path_shares,
    "by_class": _by_class,
    "latency": _latency,
}
