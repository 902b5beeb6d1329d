"""Pruning by connection: what a network loses when its least important connections go, by any measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from analysis.architecture.cost import count_cost, default_input_size, total_cost
from analysis.reuse.baselines import ORDERS, PATTERNS
from analysis.reuse.connections import Network, as_checkpoint, dense_spec
from analysis.reuse.measures import MEASURES, PLACE, as_names
from analysis.reuse.repair import Repair, check_repair, cut_loss_and_error
from analysis.reuse.scaling import check_table
from analysis.reuse.untrained import build_untrained
from densenet_core import Checkpoint
from densenet_core.checkpoints.pruning import Cut, without_connections
from densenet_core.data.datasets import DataSplits
from densenet_core.data.images import Images, sample_evenly
from densenet_core.hardware import device
from densenet_core.networks.densenet_spec import DenseNetSpec
from densenet_core.training.evaluation import check_images, evaluate_checkpoint
from densenet_core.training.record import without_results

Budget = Literal["connections", "params", "mult_adds"]
RANDOM = "random"


def prune(
    network: Network,
    table: pd.DataFrame,
    measure: str,
    keep: float,
    budget: Budget = "connections",
    input_size: int | None = None,
) -> Checkpoint:
    """Return the network without its least important connections.

    They are cut in the order of ``measure``, the least first, until what is left is at most ``keep`` of the budget. A
    target's last source stays. What was cut before stays cut, and is not part of the budget.

    >>> from analysis import connection_weights
    >>> from densenet_core import load_zoo
    >>> network = load_zoo("densenet-40-12-digits")
    >>> prune(network, connection_weights(network), "mean_abs_weight", keep=0.9).num_params < network.num_params
    True

    Args:
        table: as from ``connection_weights`` or ``measure_reuse``, of this network.
        measure: one of ``ORDERS``, or another column of the table.
        keep: share of the budget that is left, above 0 and at most 1.
        budget: connections, or the whole network's params or mult_adds.
        input_size: pixels a side for mult_adds; by default what the network is made for.

    Raises:
        ValueError: an option is unknown or out of range, or ``keep`` is below the least share that can be kept.
    """
    checkpoint, table = _as_given(network, table)
    cuts = choose_cuts(checkpoint, table, importance(table, measure), keep, budget, input_size)
    pruned = without_connections(checkpoint, cuts)
    about = {"measure": measure, "keep": keep, "budget": budget, "connections_cut": len(cuts)}
    record = without_results(checkpoint.record) | {"pruned": about}
    return Checkpoint(pruned.spec, pruned.state_dict, record, pruned.layout)


def _as_given(network: Network, table: pd.DataFrame) -> tuple[Checkpoint, pd.DataFrame]:
    """Return the network with the cuts that it came with, and the table of the connections that it has."""
    check_table(table)
    whole = as_checkpoint(network)
    spec = network.spec if isinstance(network, Checkpoint) else getattr(network, "spec", None)
    cuts = set(spec.cuts) if isinstance(spec, DenseNetSpec) else set()
    is_there = [place not in cuts for place in table[PLACE].itertuples(index=False, name=None)]
    return without_connections(whole, cuts) if cuts else whole, table[is_there]


def importance(table: pd.DataFrame, order: str) -> pd.Series:
    """Return what an order of pruning compares: the connections of least importance are cut first.

    Raises:
        ValueError: the order is unknown, the table lacks the measure, or it is a share within each target.
    """
    if order in PATTERNS:
        return PATTERNS[order](table)
    if order in MEASURES and order not in ORDERS:
        raise ValueError(f"measure {order!r} is a share within each target and does not order connections of others")
    if order not in table:
        raise ValueError(f"measure {order!r} is not in the table: choose from {', '.join(ORDERS)}")
    return table[order]


def choose_cuts(
    checkpoint: Checkpoint,
    table: pd.DataFrame,
    importance: pd.Series,
    keep: float,
    budget: Budget = "connections",
    input_size: int | None = None,
) -> list[Cut]:
    """Return the connections to cut, least important first; arguments and errors are those of ``prune``."""
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
    """Return the cuts, and what of the budget is then left, which is above ``bound`` where no more can be cut."""
    left_sources = table.groupby(["block", "target_layer"])["source_layer"].size().to_dict()
    left, cuts = whole, list[Cut]()
    places = table[PLACE].itertuples(index=False, name=None)
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
    """Return what each connection takes of a budget (same index as ``table``), and what the whole network takes.

    A connection's params are its weights and two for each of its channels in the target's norm.
    """
    if budget not in get_args(Budget):
        raise ValueError(f"budget {budget!r} is unknown: choose from {', '.join(get_args(Budget))}")
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
        biases = np.where(table["target_kind"] == "classifier", spec.classifier_width, 0)
        own = cost.loc[layers, "params"].to_numpy() - biases + 2 * widths
    share = table["num_channels"].to_numpy() / widths
    return pd.Series(own * share, index=table.index), float(cost[budget].sum())


def pruning_curves(
    network: Network,
    table: pd.DataFrame,
    measures: Iterable[str] | str,
    images: Images,
    keeps: Iterable[float] = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
    budget: Budget = "connections",
    num_images: int = 500,
    num_random: int = 5,
    repair: Repair = "none",
    training: Images | None = None,
    on_step: Callable[[int, int], object] = lambda done, total: None,
) -> pd.DataFrame:
    """Return loss and error as connections are cut, a curve for each order beside random pruning; no fine-tuning.

    A curve ends where no more can be cut.

    >>> from analysis import connection_weights
    >>> from densenet_core import checkpoint_from_state_dict, create_model
    >>> from densenet_core.data.datasets import load_test_images
    >>> network = checkpoint_from_state_dict(create_model("densenet-10-4", in_channels=1).state_dict())
    >>> images, table = load_test_images("digits"), connection_weights(network)
    >>> options = {"keeps": (1.0, 0.5), "num_images": 20, "num_random": 1}
    >>> curves = pruning_curves(network, table, ["mean_abs_weight"], images, **options)
    >>> sorted(curves["measure"].unique())
    ['mean_abs_weight', 'random']

    Args:
        table: with a column for each measure, as from ``measure_reuse``.
        measures: ``ORDERS``, or other columns of the table.
        images: labeled; ``num_images`` of them are taken, evenly spaced over the set.
        num_random: seeds of random pruning, measure "random"; each cuts in an order of its own.
        repair: what is done after cuts (``Repair``), with ``training``.

    Returns:
        Columns measure, seed (of random pruning, else 0), repair, keep, params, mult_adds, loss (nats), error
        (percent). params and mult_adds are those of the network with zeros in place of what was cut.

    Raises:
        ValueError, DataError: as in ``prune``, or the images do not fit the network.
    """
    (checkpoint, table), images = _as_given(network, table), sample_evenly(images, num_images)
    check_images(checkpoint, images)
    check_repair(repair, training)
    orders = [(measure, 0, importance(table, measure)) for measure in as_names(measures)]
    orders += [(RANDOM, seed, _random_order(table, seed)) for seed in range(num_random)]
    keeps = list(keeps)
    for keep in keeps:
        _check_keep(keep)
    steps = [(*order, keep) for order in orders for keep in keeps]
    price, whole = connection_costs(checkpoint, table, budget, images.image_size)
    rows, images = [], images.to(device())
    found: dict[frozenset[Cut], tuple[float, ...]] = {}  # every curve starts at the whole network
    for done, (measure, seed, values, keep) in enumerate(steps, start=1):
        cuts, left = _cut_down_to(keep * whole, table, values, price, whole)
        if left <= keep * whole:
            if (key := frozenset(cuts)) not in found:
                loss_and_error = cut_loss_and_error(checkpoint, cuts, images, repair, training)
                found[key] = (*_cost(checkpoint, cuts, images.image_size), *loss_and_error)
            rows.append((measure, seed, repair, keep, *found[key]))
        on_step(done, len(steps))
    columns = ["measure", "seed", "repair", "keep", "params", "mult_adds", "loss", "error"]
    return pd.DataFrame(rows, columns=columns)


def _check_keep(keep: float) -> None:
    if not 0 < keep <= 1:
        raise ValueError(f"keep {keep} must be above 0 and at most 1")


def _cost(checkpoint: Checkpoint, cuts: Iterable[Cut], image_size: int) -> tuple[float, float]:
    """Return params and mult_adds."""
    cost = total_cost(count_cost(without_connections(checkpoint, cuts).architecture, image_size))
    return cost["params"], cost["mult_adds"]


def before_and_after(whole: Checkpoint, pruned: Checkpoint, images: Images | None) -> pd.DataFrame:
    """Return what both networks cost, and their loss and error where images are given: a row for each quantity.

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


def explain_memory(costs: pd.DataFrame) -> str:
    """Return why activation memory rose, or nothing where it did not.

    Args:
        costs: as from ``before_and_after``.
    """
    memory = costs.set_index("quantity").loc["activation_bytes"]
    if memory["after"] <= memory["before"]:
        return ""
    return (
        "activation_bytes rises: it adds up the outputs of all layers, and a target that reads only some of its "
        "block's feature maps copies them first. Cut more connections of the same targets, and the copies shrink."
    )


def compare_with_scratch(
    pruned: Checkpoint, splits: DataSplits, epochs: int, scratch_epochs: int, seeds: Iterable[int] = (0, 1, 2)
) -> pd.DataFrame:
    """Train the pruned network further, and a network of the same cost from scratch (after Liu et al. 2019).

    "Rethinking the Value of Network Pruning" asks whether the weights that pruning keeps are worth anything beyond the
    architecture that it finds.

    Args:
        epochs: of fine-tuning.
        scratch_epochs: of training from new weights at the paper's learning rate; for a fair comparison what the whole
            network was trained for, and ``epochs``.

    Returns:
        Columns start (fine-tuned, from scratch), seed, epochs, params, test_error (percent).
    """
    from densenet_core.training.finetuning import finetune

    rows = []
    for seed in seeds:
        new = build_untrained(dense_spec(pruned), seed=seed)
        tuned, scratch = finetune(pruned, splits, epochs, seed=seed), finetune(new, splits, scratch_epochs, 0.1, seed)
        rows += [("fine-tuned", seed, epochs, tuned), ("from scratch", seed, scratch_epochs, scratch)]
    found = [(*row[:3], row[3].num_params, row[3].record["test_error"]) for row in rows]
    return pd.DataFrame(found, columns=["start", "seed", "epochs", "params", "test_error"])


def _num_connections(checkpoint: Checkpoint) -> int:
    spec = dense_spec(checkpoint)
    return spec.num_connections - len(spec.cuts)


def _random_order(table: pd.DataFrame, seed: int) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).random(len(table)), index=table.index)
