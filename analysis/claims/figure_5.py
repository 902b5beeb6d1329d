"""The paper's observations on Figure 5 (section 5, Feature Reuse) as claims on a feature-reuse table.

The paper states them in words about one network; the statistics and criteria are ours. Sources are compared within a
target by mean_abs_weight, where both of the table's definitions give the same order.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.claims.claim import Claim, Criterion, NotMeasurable, check
from analysis.reuse.scaling import check_table
from analysis.words import Phrase
from densenet_core import Checkpoint

NUM_SEEDS = 5  # untrained networks beside the trained one
NUM_NULL = 1000  # untrained networks whose statistic sets a criterion
ORDER_UNKNOWN = Phrase(
    "claim_reasons.order_unknown",
    "the order in which the network concatenates is not visible in its weights, so its sources cannot be told apart: "
    "pass it (--order old_first or new_first)",
)
# Spread: the effective number of sources (the exponential of the entropy of their weights' shares) over their number.
# 1: all equal, 1/n: one alone. Half says that a layer uses at least half of its sources' worth.
MIN_SPREAD = 0.5
MIN_SHARE_OF_LAYERS = 0.75  # "consistently": in three of four layers
MIN_LEAN = 1.1  # "a concentration towards final feature maps": a tenth more, and more than untrained networks have
_CV = {"classifier": 1 / np.sqrt(3), "other": np.sqrt(np.pi / 2 - 1)}  # std / mean of |w|: uniform, normal


def figure5_observations(
    table: pd.DataFrame, is_order_visible: bool = True, num_untrained: int = NUM_SEEDS
) -> pd.DataFrame:
    """Test the paper's observations on Figure 5 on a network's feature-reuse table.

    Untrained networks of the same shape are drawn as controls; the table suffices for that.

    Args:
        table: as returned by ``connection_weights``; blocks without a dense layer are ignored.
        is_order_visible: False where the order of concatenation is not known; nothing is then decidable.
        num_untrained: how many untrained networks to draw as the control.

    Returns:
        One row per observation, as ``analysis.claims.claim.check``.

    Raises:
        ValueError: ``table`` is not a feature-reuse table.

    Example:
        >>> from analysis import connection_weights
        >>> from densenet_core import load_zoo
        >>> table = connection_weights(load_zoo("densenet-40-12-digits"))
        >>> figure5_observations(table).set_index("claim").loc["layers_spread", "verdict"]
        'holds, as it does untrained'
    """
    check_table(table, ("mean_abs_weight",))
    null = [untrained_weights(table, seed) for seed in range(num_untrained)]
    return check(FIGURE_5, table, null, None if is_order_visible else ORDER_UNKNOWN)


def is_order_visible(checkpoint: Checkpoint) -> bool:
    """Return whether it is known in which order a network concatenates: from its names, its statistics, or its user."""
    return checkpoint.order is not None or checkpoint.layout == "torchvision"


def observations_over_training(tables: pd.DataFrame) -> pd.DataFrame:
    """Return how the statistic of each observation moves over the epochs of a run.

    Args:
        tables: as returned by ``reuse_over_training``.

    Returns:
        Columns epoch, claim, statement, value (nan where it can not be computed).
    """
    found = [
        figure5_observations(table, num_untrained=0)[["claim", "statement", "value"]].assign(epoch=epoch)
        for epoch, table in tables.groupby("epoch")
    ]
    return pd.concat(found, ignore_index=True)[["epoch", "claim", "statement", "value"]]


def untrained_weights(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the feature-reuse table of a network of the same shape with newly drawn weights.

    Initial weights of a target have one distribution (normal in convolutions, uniform in classifiers), so the mean of
    n of their magnitudes is normal around one value, with the standard deviation CV / sqrt(n). That value is 1 here:
    the observations compare within a target. Connections with weight 0 (cut ones) stay 0.
    """
    return table.assign(mean_abs_weight=_untrained_means(table, 1, seed)[0])


def _untrained_means(table: pd.DataFrame, num_networks: int, seed: int = 0) -> np.ndarray:
    """Return the mean |w| of every connection of untrained networks: (networks, connections)."""
    ratio = table["l1_per_input_map"] / table["mean_abs_weight"]  # weights per input map
    per_map = ratio.groupby([table["block"], table["target_layer"]]).transform("max").fillna(1)
    cv = np.where(table["target_kind"] == "classifier", _CV["classifier"], _CV["other"])
    deviation = cv / np.sqrt((table["num_channels"] * per_map).to_numpy())
    normal = np.random.default_rng(seed).standard_normal((num_networks, len(table)))
    return np.where(table["mean_abs_weight"] > 0, np.abs(1 + deviation * normal), 0.0)


def spreads(table: pd.DataFrame) -> pd.Series:
    """Return the effective number of sources over their number, by block and target: 1/n to 1; nan without weights."""
    targets = [table["block"], table["target_layer"]]
    weights = table["mean_abs_weight"]
    shares = weights / weights.groupby(targets).transform("sum")
    entropy = -(shares * np.log(shares.where(shares > 0, 1))).groupby(targets).sum(min_count=1)
    found: pd.Series = np.exp(entropy) / weights.groupby(targets).size()
    return found


def _dense(table: pd.DataFrame) -> pd.DataFrame:
    """Return the connections of blocks that have dense layers."""
    return table[table["block"].isin(table.loc[table["target_kind"] == "dense_layer", "block"])]


def _layers_spread(table: pd.DataFrame) -> float:
    layers = table[(table["target_kind"] == "dense_layer") & (table["target_layer"] > 1)]
    if layers.empty:
        raise NotMeasurable(Phrase("claim_reasons.no_dense_layer", "no dense layer has two sources"))
    return float(spreads(layers).mean())


def _transitions_spread(table: pd.DataFrame) -> float:
    transitions = _dense(table)[_dense(table)["target_kind"] == "transition"]
    if transitions.empty:
        raise NotMeasurable(Phrase("claim_reasons.no_transition", "no transition reads a dense block"))
    return float(spreads(transitions).min())


def _later_layers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the connections into dense layers with two or more sources, after the first block."""
    layers = table[(table["block"] > 1) & (table["target_kind"] == "dense_layer") & (table["target_layer"] > 1)]
    if layers.empty:
        raise NotMeasurable(
            Phrase("claim_reasons.no_later_layer", "no dense layer with two sources follows a transition")
        )
    return layers


def _row_0_ratio(table: pd.DataFrame) -> float:
    layers = _later_layers(table)
    return float(_row_0_ratios(layers, layers["mean_abs_weight"].to_numpy()[None])[0])


def _row_0_ratios(layers: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """Return row 0 over the mean of the others, (networks,): the mean in a block, the maximum of the blocks."""
    is_row_0 = (layers["source_layer"] == 0).to_numpy()
    targets, first = np.unique(layers[["block", "target_layer"]].to_numpy(), axis=0, return_inverse=True)
    membership = np.eye(len(targets))[first.ravel()]  # (connections, targets)
    others = (weights * ~is_row_0) @ membership / (~is_row_0 @ membership)
    ratios = (weights * is_row_0) @ membership / np.where(others > 0, others, np.inf)
    by_block = [ratios[:, targets[:, 0] == block].mean(1) for block in np.unique(targets[:, 0])]
    maximum: np.ndarray = np.max(by_block, axis=0)
    return maximum


def _below_untrained(table: pd.DataFrame) -> Criterion:
    """Return the criterion "less than in 99 % of untrained networks of the same shape"."""
    layers = _later_layers(table)
    return Criterion(at_most=float(np.quantile(_row_0_ratios(layers, _untrained_means(layers, NUM_NULL)), 0.01)))


def _row_0_least(table: pd.DataFrame) -> float:
    layers = _later_layers(table)
    least = layers.groupby(["block", "target_layer"])["mean_abs_weight"].transform("min")
    return float((layers["mean_abs_weight"] == least)[layers["source_layer"] == 0].mean())


def _classifier(table: pd.DataFrame) -> pd.DataFrame:
    """Return the connections into the classifier, sources in order, of a block with dense layers."""
    classifier = _dense(table)[_dense(table)["target_kind"] == "classifier"].sort_values("source_layer")
    if classifier.empty or not classifier["mean_abs_weight"].iloc[: -max(1, len(classifier) // 3)].any():
        raise NotMeasurable(
            Phrase("claim_reasons.no_lean", "no classifier gives weight to early feature maps of a dense block")
        )
    return classifier


def _classifier_lean(table: pd.DataFrame) -> float:
    return float(_leans(_classifier(table)["mean_abs_weight"].to_numpy()[None])[0])


def _leans(weights: np.ndarray) -> np.ndarray:
    """Return the last third of the sources over the others: (networks, sources) -> (networks,)."""
    last_third = max(1, weights.shape[1] // 3)
    lean: np.ndarray = weights[:, -last_third:].mean(1) / weights[:, :-last_third].mean(1)
    return lean


def _above_untrained(table: pd.DataFrame) -> Criterion:
    """Return the criterion: a tenth more, and more than in 99 % of untrained networks of the same shape."""
    null = _leans(_untrained_means(_classifier(table), NUM_NULL))
    return Criterion(at_least=max(MIN_LEAN, float(np.quantile(null, 0.99))))


SECTION = Phrase("claim_sections.section_5_figure_5", "5, Figure 5")
FIGURE_5: tuple[Claim[pd.DataFrame], ...] = (
    Claim(
        "layers_spread",
        "Layers spread their weights over many inputs of the same block.",
        SECTION,
        "effective number of sources / number of sources, mean over the dense layers",
        _layers_spread,
        Criterion(at_least=MIN_SPREAD),
    ),
    Claim(
        "transitions_spread",
        "Transition layers spread theirs over all layers of the block before them.",
        SECTION,
        "effective number of sources / number of sources, minimum over the transitions",
        _transitions_spread,
        Criterion(at_least=MIN_SPREAD),
    ),
    Claim(
        "row_0_less",
        "Layers after the first block give the transition's output (row 0) less weight than other sources.",
        SECTION,
        "weight of row 0 / mean weight of the other sources, mean over a block's layers, maximum over the blocks",
        _row_0_ratio,
        _below_untrained,
    ),
    Claim(
        "row_0_least",
        "Layers after the first block give the transition's output (row 0) the least weight of all.",
        SECTION,
        "share of the dense layers whose least-weighted source is row 0",
        _row_0_least,
        Criterion(at_least=MIN_SHARE_OF_LAYERS),
    ),
    Claim(
        "classifier_leans",
        "The classifier uses the whole block but concentrates on its last feature maps.",
        SECTION,
        "mean weight of the last third of the sources / mean weight of the others",
        _classifier_lean,
        _above_untrained,
    ),
)
