"""The paper's claims, tested on one network; statements, statistics and criteria in our words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.architecture.paths import layer_paths
from analysis.claims.claim import Claim, Criterion, Measured, NotMeasurable, check
from analysis.claims.evidence import NUM_SEEDS, Evidence
from analysis.claims.figure_5 import SECTION as FIGURE_5_SECTION
from analysis.claims.figure_5 import figure5_observations, is_order_visible
from analysis.claims.gradient_flow import controls
from analysis.results.efficiency import RESNET_KINDS, parity
from analysis.results.results import mean_over_seeds, published_results, shipped_results
from analysis.results.rows import result_of
from analysis.reuse.connections import as_checkpoint, connection_weights, dense_spec
from analysis.words import VALUE_TITLES, Phrase
from densenet_core import Checkpoint, DenseNetSpec, ResNetSpec
from densenet_core.data.images import Images, sample_evenly
from densenet_core.training.evaluation import check_fit

PLACES = {
    "transition": VALUE_TITLES["target_kind"]["transition"],
    "block": Phrase("claim_reasons.block", "block"),
}
NO_RESULT = Phrase("claim_reasons.no_result", "its record does not say which error it reaches on which data")
INTRODUCTION_AND_DISCUSSION = Phrase("claim_sections.sections_1_and_5", "1 and 5")


def check_claims(
    network: Checkpoint,
    images: Images | None = None,
    beside: Sequence[Checkpoint] = (),
    num_images: int = 500,
    train_images: Images | None = None,
    seeds: Sequence[Checkpoint] = (),
    num_untrained: int = NUM_SEEDS,
) -> pd.DataFrame:
    """Test the paper's claims on a DenseNet: the observations on Figure 5, then ``ON_IMAGES``.

    Args:
        images: labeled test images, for what is measured on data; ``num_images`` of them are used, evenly spaced.
        beside: a ResNet that was trained on the same data, for the claim on overfitting; or several seeds of it.
        train_images: the images that both were trained on, without augmentation, for the same claim.
        seeds: further runs of the network with other seeds, for the same claim; all else is measured on ``network``.
        num_untrained: untrained networks to measure beside it.

    Returns:
        One row per claim, with the columns of ``analysis.claims.claim.COLUMNS``.

    Raises:
        CheckpointError: the network is not a DenseNet.
        DataError: the images do not fit it.

    Example:
        >>> from densenet_core import load_zoo
        >>> claims = check_claims(load_zoo("densenet-40-12-digits"))
        >>> claims.loc[claims["claim"] == "short_paths", "verdict"].item()
        'holds, as it does untrained'
    """
    checkpoint = as_checkpoint(network)
    spec = dense_spec(checkpoint)
    for own in (images, train_images):
        if own is not None:
            check_fit(spec, own)
    test, train = (None if own is None else sample_evenly(own, num_images) for own in (images, train_images))
    evidence = Evidence(checkpoint, test, train, tuple(beside), tuple(seeds))
    observations = figure5_observations(connection_weights(checkpoint), is_order_visible(network), num_untrained)
    untrained = [evidence.without_training(seed) for seed in range(num_untrained)]
    return pd.concat([observations, check(ON_IMAGES, evidence, untrained)], ignore_index=True)


def _mean(evidence: Evidence, place: str, column: str) -> float:
    table = evidence.redundancy
    own = table.loc[table["place"] == place, column].dropna()
    if own.empty:
        raise NotMeasurable(
            Phrase(
                "claim_reasons.no_sources",
                "no {place} has two sources that vary over the images",
                place=PLACES[place],
            )
        )
    return float(own.mean())


def _depth_to_loss(spec: DenseNetSpec | ResNetSpec) -> float:
    """Return the mean number of layers from a layer to the scores, divided by a chain's (half its depth)."""
    return float(layer_paths(spec)["shortest"].mean()) / (spec.depth / 2)


def _resnet_depth_to_loss(evidence: Evidence) -> tuple[str, float]:
    title, spec = next(iter(controls(evidence.spec).items()))
    return title, _depth_to_loss(spec)


def _overfitting(evidence: Evidence) -> Measured:
    gaps = evidence.gaps
    return Measured(gaps.difference, gaps.low, gaps.high, gaps.detail)


def _gap_beside(evidence: Evidence) -> tuple[str, float]:
    gaps, title = evidence.gaps.theirs, evidence.beside[0].spec.title
    name = Phrase("claim_controls.gap_of", "gap of {network}", network=title)
    if len(gaps) > 1:
        name = Phrase(
            "claim_controls.mean_gap", "gap of {network}, mean of {number} seeds", network=title, number=len(gaps)
        )
    return name, sum(gaps) / len(gaps)


def _parameters_of_resnets(evidence: Evidence) -> Measured:
    """Return the parameters that ResNets need for the network's error, over the network's own."""
    own = result_of(evidence.network.architecture, evidence.network.record)
    if own is None:
        raise NotMeasurable(NO_RESULT)
    found = parity(_resnets_trained_as_long(own), "ResNet", own, "params")
    low, high = found.bounds  # of how many times fewer the ResNets need
    least, most = (1 / high if high else float("inf")), (1 / low if low else float("inf"))
    value = least if least > 0 else most
    return Measured(value, least, most, found.reason)


def _resnets_trained_as_long(own: pd.Series) -> pd.DataFrame:
    """Return the results of ResNets, pre-activation ones too, on the data of a network's result, as one family.

    Of the suite's own ResNets, only those trained for as many epochs or more are taken.
    """
    everything = pd.concat([published_results(), mean_over_seeds(shipped_results())], ignore_index=True)
    same = everything[(everything["dataset"] == own["dataset"]) & (everything["error_kind"] == own["error_kind"])]
    resnets = same[same["family"].isin(RESNET_KINDS)].assign(family="ResNet")
    trained_as_long: pd.DataFrame = resnets[(resnets["origin"] == "published") | (resnets["epochs"] >= own["epochs"])]
    if not trained_as_long.empty:
        return trained_as_long
    reason = Phrase("claim_reasons.no_resnets", "there are no ResNets with results on {data}", data=own["dataset"])
    if not resnets.empty:
        reason = Phrase(
            "claim_reasons.no_resnets_trained_as_long",
            "no ResNet with results on {data} was trained for {epochs} epochs or more",
            data=own["dataset"],
            epochs=own["epochs"],
        )
    raise NotMeasurable(reason)


ON_IMAGES: tuple[Claim[Evidence], ...] = (
    Claim(
        "transition_rank",
        "The outputs of transitions are redundant: they span few dimensions.",
        FIGURE_5_SECTION,
        "effective rank of the maps' correlations / number of maps, after the transitions, mean",
        lambda e: _mean(e, "transition", "rank_share"),
        Criterion(at_most=0.5),
    ),
    Claim(
        "block_rank",
        "The feature maps that leave a dense block are redundant: they span few dimensions.",
        FIGURE_5_SECTION,
        "effective rank of the maps' correlations / number of maps, after the blocks, mean",
        lambda e: _mean(e, "block", "rank_share"),
        Criterion(at_most=0.5),
    ),
    Claim(
        "transition_alike",
        "The outputs of transitions are redundant: the maps are alike.",
        FIGURE_5_SECTION,
        "squared correlation of two maps after the transitions, mean over the pairs",
        lambda e: _mean(e, "transition", "mean_cka"),
        Criterion(at_least=0.5),
    ),
    Claim(
        "block_alike",
        "The feature maps that leave a dense block are redundant: the layers' maps are alike.",
        FIGURE_5_SECTION,
        "linear CKA between the maps of two sources, mean over the pairs and the blocks",
        lambda e: _mean(e, "block", "mean_cka"),
        Criterion(at_least=0.5),
    ),
    Claim(
        "even_gradients",
        "The loss supervises early layers directly: gradients neither vanish nor explode on their way to them.",
        INTRODUCTION_AND_DISCUSSION,
        "gradient by the layers' outputs, first third of the layers against last third, larger over smaller median",
        lambda e: e.unevenness,
        Criterion(at_most=10, below_control=True),
        control=lambda e: e.plain_unevenness,
    ),
    Claim(
        "short_paths_carry",
        "Most of the gradient arrives by short paths.",
        INTRODUCTION_AND_DISCUSSION,
        "share of the gradient by the image that arrives by paths of at most half the network's depth",
        lambda e: e.short_share,
        Criterion(at_least=0.5),
        control=lambda e: e.resnet_short_share,
    ),
    Claim(
        "short_paths",
        "Paths from layers to the loss are short.",
        "1",
        "layers on the shortest path to the scores, mean over the layers / the same in a chain of the same depth",
        lambda e: _depth_to_loss(e.spec),
        Criterion(at_most=0.25),
        control=_resnet_depth_to_loss,
    ),
    Claim(
        "overfits_less",
        "DenseNets overfit less than ResNets.",
        "5",
        "test loss minus training loss (nats, evaluation mode), this network's less the ResNet's",
        _overfitting,
        Criterion(at_most=0),
        control=_gap_beside,
    ),
    Claim(
        "fewer_parameters",
        "DenseNets need fewer parameters than ResNets for the same error.",
        "4.3",
        "parameters that ResNets of the published and shipped results need for its error / its own",
        _parameters_of_resnets,
        Criterion(at_least=1),
    ),
)
