"""The paper's claims, checked on one network, each as a number with a criterion beside an untrained network's.

The claims are the paper's, in our words; statistics and criteria are ours. A network of the same architecture that was
never trained (the *null*) tells what of a number is training's and what the architecture gives anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from analysis.architecture.paths import layer_paths
from analysis.claims.gradient_flow import gradient_flow, reach
from analysis.claims.redundancy import block_redundancy
from analysis.results.efficiency import parity
from analysis.results.results import mean_over_seeds, published_results, result_of, shipped_results
from analysis.reuse.connections import as_checkpoint, connection_weights, dense_spec
from analysis.reuse.observations import figure5_observations
from densenet_core import Checkpoint, DenseNet
from densenet_core.data.images import Images, evenly_spaced
from densenet_core.training.evaluation import check_fit

NO_IMAGES = "it is measured on images, and none were given"


@dataclass(frozen=True)
class Claim:
    """One statement of the paper and what this network says to it."""

    claim: str  # in our words
    section: str  # of the paper
    statistic: str  # what the value is
    value: float | None  # None: there is nothing to compute it from
    null: float | None  # the same of an untrained network; None where that has no such number
    criterion: str
    holds: bool | None  # None: not decidable
    reason: str = ""  # why not

    @property
    def verdict(self) -> str:
        return {True: "holds", False: "does not hold", None: "not decidable"}[self.holds]


def check_claims(
    network: Checkpoint, images: Images | None = None, beside: Checkpoint | None = None, num_images: int = 500
) -> tuple[Claim, ...]:
    """The paper's claims on this network.

    Args:
        images: labelled, for what is measured on data; ``num_images`` of them are taken, evenly spaced.
        beside: a ResNet that was trained on the same data, with its record, for the gap of test and training loss.

    Raises:
        CheckpointError: the network is no DenseNet.
        DataError: the images do not fit it.
    """
    checkpoint = as_checkpoint(network)
    if images is not None:
        check_fit(checkpoint.architecture, images)
        images = evenly_spaced(images, num_images)
    null = untrained(checkpoint, images)
    return (
        *_observations(checkpoint, null),
        *_redundancy(checkpoint, null, images),
        _deep_supervision(checkpoint, null, images),
        _short_paths(checkpoint),
        _generalisation(checkpoint, beside),
        _fewer_parameters(checkpoint),
    )


def claims_table(claims: tuple[Claim, ...]) -> pd.DataFrame:
    """A row a claim: the fields of ``Claim`` and verdict."""
    return pd.DataFrame([asdict(claim) | {"verdict": claim.verdict} for claim in claims])


def untrained(checkpoint: Checkpoint, images: Images | None = None, seed: int = 0) -> Checkpoint:
    """A network of the same architecture that was only initialised.

    Args:
        images: gives its batch norms the statistics of these images, as a trained network's have; else 0 and 1.
    """
    spec = dense_spec(checkpoint)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DenseNet(spec)
    if images is not None:
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = None  # the mean over all batches
        with torch.no_grad():
            for batch, _ in images.batches(50):
                model.train()(batch)
    return Checkpoint(spec, {key: tensor.detach() for key, tensor in model.state_dict().items()})


def _observations(checkpoint: Checkpoint, null: Checkpoint) -> Iterator[Claim]:
    found, of_null = (figure5_observations(connection_weights(network)) for network in (checkpoint, null))
    for seen, other in zip(found, of_null, strict=True):
        yield Claim(
            seen.statement,
            "5, Figure 5",
            seen.statistic,
            seen.value,
            other.value,
            seen.criterion,
            seen.holds,
            seen.reason,
        )


def _redundancy(checkpoint: Checkpoint, null: Checkpoint, images: Images | None) -> Iterator[Claim]:
    values: dict[str, tuple[float | None, float | None]] = dict.fromkeys(("rank_share", "mean_cka"), (None, None))
    if images is not None:
        found = [block_redundancy(network, images, len(images)) for network in (checkpoint, null)]
        values = {name: (_known(found[0][name].mean()), _known(found[1][name].mean())) for name in values}
    claim = "The feature maps that leave a dense block are redundant, so that compression costs little"
    reason = NO_IMAGES if images is None else "nothing varies over the images"
    yield _judged(
        f"{claim}: they span few dimensions.",
        "5, Figure 5",
        "effective rank of the maps' covariance / number of maps, mean over the blocks",
        values["rank_share"],
        most=0.5,
        reason=reason,
    )
    yield _judged(
        f"{claim}: the layers' maps are alike.",
        "5, Figure 5",
        "linear CKA between the maps of two sources, mean over the pairs and the blocks",
        values["mean_cka"],
        least=0.5,
        reason=reason,
    )


def _deep_supervision(checkpoint: Checkpoint, null: Checkpoint, images: Images | None) -> Claim:
    values: tuple[float | None, float | None] = (None, None)
    if images is not None:
        batch, labels = next(evenly_spaced(images, 64).batches(64))
        models = {"value": checkpoint.to_model(), "null": null.to_model()}
        found = reach(gradient_flow(models, batch, labels))
        values = (_known(found["value"]), _known(found["null"]))
    return _judged(
        "The loss reaches early layers directly (implicit deep supervision): gradients do not vanish.",
        "1 and 5",
        "gradient by the layers' outputs, median of the first third of the layers / median of the last third",
        values,
        least=0.1,
        reason=NO_IMAGES if images is None else "there is no gradient",
    )


def _short_paths(checkpoint: Checkpoint) -> Claim:
    spec = dense_spec(checkpoint)
    shortest = float(layer_paths(spec)["shortest"].mean())
    value = shortest / (spec.depth / 2)  # in a chain of L layers the mean way to the scores is L/2
    return _judged(
        "Paths from layers to the loss are short.",
        "1",
        "layers on the shortest way to the scores, mean over the layers / the same in a chain as deep",
        (value, value),
        most=0.25,
    )


def _generalisation(checkpoint: Checkpoint, beside: Checkpoint | None) -> Claim:
    gaps = [_loss_gap(network) for network in (checkpoint, beside)]
    same_data = beside is not None and checkpoint.record.get("dataset") == beside.record.get("dataset")
    value = None
    reason = "no ResNet trained on the same data was given beside it"
    if beside is not None and not same_data:
        reason = f"the other was trained on {beside.record.get('dataset')}, this on {checkpoint.record.get('dataset')}"
    elif gaps[0] is None or (beside is not None and gaps[1] is None):
        reason = "a record has no training and test loss"
    elif gaps[1] is not None:
        value = gaps[0] - gaps[1]
    return _judged(
        "DenseNets overfit less than ResNets.",
        "5",
        "test loss minus training loss (nats), this network's less the ResNet's",
        (value, None),
        most=0.0,
        reason=reason,
    )


def _loss_gap(network: Checkpoint | None) -> float | None:
    record = network.record if network is not None else {}
    train, test = record.get("train_loss"), record.get("test_loss")
    return None if train is None or test is None else float(test) - float(train)


def _fewer_parameters(checkpoint: Checkpoint) -> Claim:
    value, reason = None, "its record does not say what it reaches on which data"
    own = result_of(checkpoint.architecture, checkpoint.record)
    if own is not None:
        everything = pd.concat([published_results(), mean_over_seeds(shipped_results())], ignore_index=True)
        same = everything[(everything["dataset"] == own["dataset"]) & (everything["error_kind"] == own["error_kind"])]
        reason = f"there are no ResNets with results on {own['dataset']}"
        if (same["family"] == "ResNet").any():
            found = parity(same, "ResNet", own, "params")
            value, reason = (1 / found.times_fewer if found.times_fewer else None), found.reason
    return _judged(
        "DenseNets need fewer parameters than ResNets for the same error.",
        "4.3",
        "parameters that ResNets of the published and shipped results need for its error / its own",
        (value, None),
        least=1.0,
        reason=reason,
    )


def _judged(
    claim: str,
    section: str,
    statistic: str,
    values: tuple[float | None, float | None],
    least: float | None = None,
    most: float | None = None,
    reason: str = "",
) -> Claim:
    """A claim that holds if the value is at least, or at most, a number."""
    value, null = values
    criterion = f"at least {least:g}" if least is not None else f"at most {most:g}"
    if value is None:
        return Claim(claim, section, statistic, None, null, criterion, None, reason)
    holds = value >= least if least is not None else value <= (most if most is not None else np.inf)
    return Claim(claim, section, statistic, value, null, criterion, bool(holds))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
