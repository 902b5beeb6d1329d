"""Pruning by connection: what a network loses when its least important connections go, by any measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from analysis.architecture.cost import count_cost, default_input_size, total_cost
from analysis.reuse.connections import Network, as_checkpoint, dense_spec
from densenet_core import Checkpoint
from densenet_core.checkpoints.pruning import Cut, without_connections
from densenet_core.data.images import Images, evenly_spaced
from densenet_core.hardware import device
from densenet_core.training.evaluation import check_fit, evaluate_checkpoint

Budget = Literal["connections", "params", "mult_adds"]
KEYS = ["block", "source_layer", "target_layer"]
RANDOM = "random"


def prune(
    network: Network,
    table: pd.DataFrame,
    measure: str,
    keep: float,
    budget: Budget = "connections",
    input_size: int | None = None,
) -> Checkpoint:
    """The network without its least important connections.

    They go in the order of ``measure``, least first, until what is left is at most ``keep`` of the budget. A target's
    last source stays.

    Args:
        table: as ``connection_weights`` or ``measure_reuse`` gives it, of this network.
        measure: a column of it.
        keep: share of the budget that is left, above 0 and at most 1.
        budget: connections, or the whole network's params or mult_adds.
        input_size: pixels a side for mult_adds; by default what the network is made for.

    Raises:
        ValueError: an option is not known or not in its range, or so little can't be reached; what can, is said.
    """
    checkpoint = as_checkpoint(network)
    cuts = chosen_cuts(checkpoint, table, table[measure], keep, budget, input_size)
    pruned = without_connections(checkpoint, cuts)
    about = {"measure": measure, "keep": keep, "budget": budget, "connections_cut": len(cuts)}
    return Checkpoint(pruned.spec, pruned.state_dict, checkpoint.record | {"pruned": about}, pruned.layout)


def chosen_cuts(
    checkpoint: Checkpoint,
    table: pd.DataFrame,
    importance: pd.Series,
    keep: float,
    budget: Budget = "connections",
    input_size: int | None = None,
) -> list[Cut]:
    """The connections to cut, least important first; arguments and errors as ``prune``'s."""
    _check_keep(keep)
    price, whole = connection_costs(checkpoint, table, budget, input_size)
    cuts, left = _cut_down_to(keep * whole, table, importance, price, whole)
    if left > keep * whole:
        raise ValueError(
            f"keep {keep} of {budget} can't be reached: with one source a target {left / whole:.3g} is left"
        )
    return cuts


def _cut_down_to(
    bound: float, table: pd.DataFrame, importance: pd.Series, price: pd.Series, whole: float
) -> tuple[list[Cut], float]:
    """The cuts, and what of the budget is then left, which is above ``bound`` where no more can be cut."""
    left_sources = table.groupby(["block", "target_layer"])["source_layer"].size().to_dict()
    left, cuts = whole, list[Cut]()
    places = table[KEYS].itertuples(index=False, name=None)
    connections: dict[Any, Cut] = dict(zip(table.index, places, strict=True))
    for row in importance.sort_values(kind="stable").index:
        if left <= bound:
            break
        block, source, target = connections[row]
        if left_sources[block, target] > 1:
            left_sources[block, target] -= 1
            left -= price[row]
            cuts.append((block, source, target))
    return cuts, left


def connection_costs(
    checkpoint: Checkpoint, table: pd.DataFrame, budget: Budget, input_size: int | None = None
) -> tuple[pd.Series, float]:
    """What each connection takes of a budget (same index as ``table``), and what the whole network takes.

    A connection's params are its weights and two for each of its channels in the target's norm.
    """
    if budget not in get_args(Budget):
        raise ValueError(f"budget {budget!r} is none of {', '.join(get_args(Budget))}")
    if budget == "connections":
        return pd.Series(1.0, index=table.index), float(len(table))
    spec = dense_spec(checkpoint)
    cost = count_cost(spec, input_size or default_input_size(spec)).set_index("name")
    places = zip(table["block"], table["target_layer"], strict=True)
    layers = [spec.target_names(*place)[0].removesuffix(".weight") for place in places]
    widths = table.groupby(["block", "target_layer"])["num_channels"].transform("sum").to_numpy()
    mult_adds = cost.loc[layers, "mult_adds"].to_numpy()
    if budget == "mult_adds":
        own = mult_adds
    else:
        biases = np.where(table["target_kind"] == "classifier", spec.num_classes, 0)
        own = cost.loc[layers, "params"].to_numpy() - biases + 2 * widths
    share = table["num_channels"].to_numpy() / widths
    return pd.Series(own * share, index=table.index), float(cost[budget].sum())


def pruning_curves(
    network: Network,
    table: pd.DataFrame,
    measures: Iterable[str],
    images: Images,
    keeps: Iterable[float] = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
    budget: Budget = "connections",
    num_images: int = 500,
    num_random: int = 5,
    on_step: Callable[[int, int], object] = lambda done, total: None,
) -> pd.DataFrame:
    """Loss and error as less and less is left, a curve a measure, beside random pruning: no fine-tuning.

    A curve ends where no more can be cut.

    Args:
        table: with a column a measure, as ``measure_reuse`` gives it.
        images: labelled; ``num_images`` of them are taken, evenly spaced over the set.
        num_random: seeds of random pruning, measure "random"; each cuts in an order of its own.

    Returns:
        Columns measure, seed (of random pruning, else 0), keep, params, mult_adds, loss (nats), error (percent).

    Raises:
        ValueError, DataError: as ``prune``, or the images do not fit the network.
    """
    checkpoint, images = as_checkpoint(network), evenly_spaced(images, num_images)
    check_fit(checkpoint.architecture, images)
    orders = [(measure, 0, table[measure]) for measure in measures]
    orders += [(RANDOM, seed, _random_order(table, seed)) for seed in range(num_random)]
    keeps = list(keeps)
    for keep in keeps:
        _check_keep(keep)
    steps = [(*order, keep) for order in orders for keep in keeps]
    price, whole = connection_costs(checkpoint, table, budget, images.image_size)
    rows, images = [], images.to(device())
    found: dict[frozenset[Cut], tuple[float, ...]] = {}  # the whole network stands at the start of every curve
    for done, (measure, seed, importance, keep) in enumerate(steps, start=1):
        cuts, left = _cut_down_to(keep * whole, table, importance, price, whole)
        if left <= keep * whole:
            if (key := frozenset(cuts)) not in found:
                found[key] = _cost_and_error(without_connections(checkpoint, cuts), images)
            rows.append((measure, seed, keep, *found[key]))
        on_step(done, len(steps))
    return pd.DataFrame(rows, columns=["measure", "seed", "keep", "params", "mult_adds", "loss", "error"])


def _check_keep(keep: float) -> None:
    if not 0 < keep <= 1:
        raise ValueError(f"keep {keep} must be above 0 and at most 1")


def _cost_and_error(network: Checkpoint, images: Images) -> tuple[float, ...]:
    """params, mult_adds, loss, error."""
    cost = total_cost(count_cost(network.architecture, images.image_size))
    result = evaluate_checkpoint(network, images)
    return cost["params"], cost["mult_adds"], result.loss, result.top1_error


def before_and_after(whole: Checkpoint, pruned: Checkpoint, images: Images | None) -> pd.DataFrame:
    """What both networks cost, and their loss and error where images are given: a row a quantity.

    Returns:
        Columns quantity, before, after.
    """
    rows: list[tuple[str, Any, Any]] = []
    size = default_input_size(whole.architecture) if images is None else images.image_size
    costs = [total_cost(count_cost(network.architecture, size)) for network in (whole, pruned)]
    rows.append(("connections", _num_connections(whole), _num_connections(pruned)))
    rows += [(what, costs[0][what], costs[1][what]) for what in ("params", "mult_adds", "activation_bytes")]
    if images is not None:
        results = [evaluate_checkpoint(network, images) for network in (whole, pruned)]
        rows += [("loss", results[0].loss, results[1].loss), ("error", results[0].top1_error, results[1].top1_error)]
    return pd.DataFrame(rows, columns=["quantity", "before", "after"])


def _num_connections(checkpoint: Checkpoint) -> int:
    spec = dense_spec(checkpoint)
    return spec.num_connections - len(spec.cuts)


def _random_order(table: pd.DataFrame, seed: int) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).random(len(table)), index=table.index)
