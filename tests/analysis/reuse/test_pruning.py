from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from analysis import connection_weights
from analysis.architecture.cost import count_cost, total_cost
from analysis.reuse.ablation import connection_ablation
from analysis.reuse.baselines import ORDERS
from analysis.reuse.connections import dense_spec
from analysis.reuse.measures import MEASURES
from analysis.reuse.pruning import (
    RANDOM,
    Budget,
    before_and_after,
    choose_cuts,
    compare_with_scratch,
    connection_costs,
    explain_memory,
    importance,
    prune,
    pruning_curves,
)
from analysis.reuse.repair import cut_loss_and_error, reestimate_norms
from densenet_core import Checkpoint, DenseNet, DenseNetSpec
from densenet_core.checkpoints.pruning import without_connections
from densenet_core.training import finetuning
from densenet_core.training.evaluation import evaluate
from tests.analysis.reuse.test_effects import SPECS, checkpoint_of, images_for

pytestmark = pytest.mark.slow
SPEC = SPECS[0]


@pytest.mark.parametrize("spec", SPECS[:2] + SPECS[4:], ids=lambda spec: f"{spec.family} {spec.stem}")
def test_pruning_a_connection_equals_ablating_it(spec: DenseNetSpec) -> None:
    checkpoint, images = checkpoint_of(spec), images_for(spec)
    table = connection_ablation(checkpoint, images)
    for row in table[table["target_layer"] > 1].itertuples():
        pruned = without_connections(checkpoint, [(row.block, row.source_layer, row.target_layer)])
        result = evaluate(pruned.to_model(), images)
        assert result.loss - table.attrs["loss"] == pytest.approx(row.ablation, abs=1e-5)
        assert result.top1_error - table.attrs["error"] == pytest.approx(row.error_rise, abs=1e-6)


def test_the_least_go_first_and_a_last_source_stays() -> None:
    checkpoint = checkpoint_of(SPEC)
    table = connection_weights(checkpoint)
    cuts = choose_cuts(checkpoint, table, table["mean_abs_weight"], keep=0.75)
    assert len(cuts) == 4  # of 16
    keyed = table.set_index(["block", "source_layer", "target_layer"])["mean_abs_weight"]
    only_sources = {(1, 0, 1), (2, 0, 1)}
    left = keyed.drop([*cuts, *only_sources])
    assert max(keyed[cut] for cut in cuts) <= left.min()
    assert choose_cuts(checkpoint, table, table["mean_abs_weight"], keep=1) == []
    with pytest.raises(
        ValueError, match=r"keep 0\.1 of connections can't be reached: with one source a target 0.438 is left"
    ):
        choose_cuts(checkpoint, table, table["mean_abs_weight"], keep=0.1)


@pytest.mark.parametrize("budget", ["params", "mult_adds"])
@pytest.mark.parametrize("spec", SPECS[:2], ids=lambda spec: spec.family)
def test_a_budget_is_what_the_pruned_network_costs(spec: DenseNetSpec, budget: str) -> None:
    checkpoint = checkpoint_of(spec)
    table = connection_weights(checkpoint)
    price, whole = connection_costs(checkpoint, table, budget, input_size=16)
    assert whole == total_cost(count_cost(spec, 16))[budget]
    cuts = choose_cuts(checkpoint, table, table["mean_abs_weight"], 0.95, budget, 16)
    after = total_cost(count_cost(without_connections(checkpoint, cuts).spec, 16))[budget]
    keyed = pd.Series(
        price.to_numpy(), index=pd.MultiIndex.from_frame(table[["block", "source_layer", "target_layer"]])
    )
    assert whole - sum(keyed[cut] for cut in cuts) == pytest.approx(after)
    assert after <= 0.95 * whole


def test_the_record_says_how_it_was_pruned() -> None:
    checkpoint = checkpoint_of(SPEC)
    table = connection_weights(checkpoint)
    pruned = prune(checkpoint, table, "mean_abs_weight", 0.6)
    assert pruned.record["pruned"] == {
        "measure": "mean_abs_weight",
        "keep": 0.6,
        "budget": "connections",
        "connections_cut": 7,
    }
    numbers = before_and_after(checkpoint, pruned, images_for(SPEC)).set_index("quantity")
    assert numbers.loc["connections"].tolist() == [16, 9]
    assert numbers.loc["params", "after"] == sum(p.numel() for p in pruned.to_model().parameters())
    assert numbers.loc["error", "after"] == evaluate(pruned.to_model(), images_for(SPEC)).top1_error


@pytest.mark.parametrize("budget", ["connections", "params", "mult_adds"])
def test_what_was_cut_stays_cut_and_is_no_part_of_the_budget(budget: Budget) -> None:
    checkpoint, images = checkpoint_of(SPEC), images_for(SPEC)
    checkpoint = replace(checkpoint, record=checkpoint.record | {"test_error": 1.0, "train_eval_loss": 0.1})
    once = prune(checkpoint, connection_weights(checkpoint), "mean_abs_weight", 0.95, budget, images.image_size)
    assert not {"test_error", "train_eval_loss"} & once.record.keys()  # they were the whole network's
    table = connection_weights(once)
    for network in (once, once.to_model()):
        twice = prune(network, table, "log_densenet", 0.95, budget, images.image_size)
        assert dense_spec(twice).cuts and set(dense_spec(once).cuts) < set(dense_spec(twice).cuts)
        numbers = before_and_after(once, twice, images).set_index("quantity")
        assert numbers.loc[budget, "after"] <= 0.95 * numbers.loc[budget, "before"]
    curves = pruning_curves(once, table, ["mean_abs_weight"], images, (1.0, 0.95), budget, num_random=1)
    costs = before_and_after(once, once, images).set_index("quantity")["before"]
    whole = curves[curves["keep"] == 1.0]
    assert whole[["params", "mult_adds"]].to_numpy().tolist() == [costs[["params", "mult_adds"]].tolist()] * 2
    assert whole["loss"].tolist() == pytest.approx([costs["loss"]] * 2, abs=1e-5)


def test_the_curves_begin_with_the_whole_network_and_random_orders_differ() -> None:
    checkpoint, images = checkpoint_of(SPEC), images_for(SPEC)
    table, steps = connection_ablation(checkpoint, images), []
    curves = pruning_curves(
        checkpoint, table, ["ablation"], images, (1.0, 0.6), num_random=3, on_step=lambda *step: steps.append(step)
    )
    assert steps[-1] == (8, 8)
    whole = curves[curves["keep"] == 1.0]
    assert whole["loss"].tolist() == pytest.approx([table.attrs["loss"]] * 4, abs=1e-5)
    chance = curves[(curves["measure"] == RANDOM) & (curves["keep"] == 0.6)]
    assert chance["seed"].tolist() == [0, 1, 2]
    assert chance["loss"].nunique() == 3
    expected = prune(checkpoint, table, "ablation", 0.6)
    (own,) = curves[(curves["measure"] == "ablation") & (curves["keep"] == 0.6)].itertuples()
    assert own.loss == pytest.approx(evaluate(expected.to_model(), images).loss)
    assert own.params == sum(p.numel() for p in expected.to_model().parameters())


def test_a_curve_ends_where_no_more_can_be_cut() -> None:
    checkpoint, images = checkpoint_of(SPEC), images_for(SPEC)
    table = connection_weights(checkpoint)
    curves = pruning_curves(checkpoint, table, ["mean_abs_weight"], images, (0.9, 0.5, 0.1), num_random=0)
    assert curves["keep"].tolist() == [0.9, 0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0.0}, "keep 0.0 must be above 0"),
        ({"keep": 0.5, "budget": "bytes"}, "budget 'bytes' is unknown: choose from connections, params, mult_adds"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    table = connection_weights(checkpoint_of(SPEC))
    with pytest.raises(ValueError, match=message):
        prune(checkpoint_of(SPEC), table, "mean_abs_weight", **options)


def test_a_share_within_targets_is_no_order_and_the_patterns_are() -> None:
    table = connection_weights(checkpoint_of(SPEC))
    assert set(MEASURES) - set(ORDERS) == {"contribution"}
    with pytest.raises(ValueError, match="measure 'contribution' is a share within each target"):
        importance(table, "contribution")
    with pytest.raises(ValueError, match="measure 'taylor' is not in the table: choose from mean_abs_weight"):
        importance(table, "taylor")
    first = choose_cuts(checkpoint_of(SPEC), table, importance(table, "log_densenet"), keep=0.9)
    assert {target - source for _, source, target in first} == {3}  # the one distance of 1..4 off the pattern


def test_means_in_place_of_a_cut_are_the_ablation_by_means() -> None:
    checkpoint, images = checkpoint_of(SPEC), images_for(SPEC)
    table = connection_ablation(checkpoint, images, replace="mean")
    for row in table[table["target_layer"] > 1].itertuples():
        cut = [(row.block, row.source_layer, row.target_layer)]
        loss, error = cut_loss_and_error(checkpoint, cut, images, "mean", images)
        assert loss - table.attrs["loss"] == pytest.approx(row.ablation, abs=1e-5)
        assert error - table.attrs["error"] == pytest.approx(row.error_rise, abs=1e-6)


def test_norms_estimated_again_are_those_of_a_pass_in_training_mode() -> None:
    checkpoint, images = checkpoint_of(SPEC), images_for(SPEC)
    cut = without_connections(checkpoint, [(1, 0, 2), (2, 1, 3)])
    found = reestimate_norms(cut, images)
    batch, _ = next(images.batches(12))
    model, inputs = cut.to_model().train(), dict[str, torch.Tensor]()
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _, given, __, name=name: inputs.update({name: given[0].detach()}))
    with torch.no_grad():
        model(batch)
    assert inputs
    for name, given in inputs.items():
        values = given.transpose(0, 1).flatten(1)
        np.testing.assert_allclose(found.state_dict[f"{name}.running_mean"], values.mean(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.state_dict[f"{name}.running_var"], values.var(1), rtol=1e-4, atol=1e-5)
    untouched = [key for key in cut.state_dict if "running" not in key and "num_batches" not in key]
    assert all(torch.equal(found.state_dict[key], cut.state_dict[key]) for key in untouched)


def test_a_repair_needs_training_images() -> None:
    checkpoint, images = checkpoint_of(SPEC), images_for(SPEC)
    table = connection_weights(checkpoint)
    with pytest.raises(ValueError, match="repair 'mean' needs training images"):
        pruning_curves(checkpoint, table, ["mean_abs_weight"], images, repair="mean")
    with pytest.raises(ValueError, match="repair 'tape' is unknown: choose from none, mean, norms"):
        pruning_curves(checkpoint, table, ["mean_abs_weight"], images, repair="tape")


def test_memory_that_rises_is_explained() -> None:
    checkpoint, images = checkpoint_of(SPEC), images_for(SPEC)
    slightly = without_connections(checkpoint, [(1, 1, 3)])
    assert "copies them first" in explain_memory(before_and_after(checkpoint, slightly, images))
    assert explain_memory(before_and_after(checkpoint, checkpoint, images)) == ""


def test_training_further_is_compared_with_the_same_cost_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    pruned = without_connections(checkpoint_of(SPECS[0]), [(1, 0, 2)])
    trained: list[tuple[Checkpoint, tuple[object, ...]]] = []

    def finetune(network: Checkpoint, splits: object, *options: object, **named: object) -> Checkpoint:
        trained.append((network, (*options, *named.values())))
        return replace(network, record={"test_error": float(len(trained))})

    monkeypatch.setattr(finetuning, "finetune", finetune)
    table = compare_with_scratch(pruned, None, epochs=3, scratch_epochs=20, seeds=(0, 1))  # type: ignore[arg-type]
    assert table[["start", "seed", "epochs"]].to_numpy().tolist() == [
        ["fine-tuned", 0, 3],
        ["from scratch", 0, 20],
        ["fine-tuned", 1, 3],
        ["from scratch", 1, 20],
    ]
    assert table["test_error"].tolist() == [1, 2, 3, 4]
    assert set(table["params"]) == {pruned.num_params}
    assert [options for _, options in trained] == [(3, 0), (20, 0.1, 0), (3, 1), (20, 0.1, 1)]
    weights = [network.state_dict["classifier.weight"] for network, _ in trained]
    assert torch.equal(weights[0], weights[2])  # what pruning kept
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[3])  # a new draw for each seed
    assert {network.spec.cuts for network, _ in trained} == {((1, 0, 2),)}


def test_a_hidden_layer_of_the_classifier_keeps_its_biases() -> None:
    spec = DenseNetSpec((2, 2), 4, 8, num_classes=5, head_widths=(64,))
    checkpoint = Checkpoint(spec, DenseNet(spec).state_dict())
    table = connection_weights(checkpoint)
    price, whole = connection_costs(checkpoint, table, "params", input_size=16)
    cuts = [(2, 0, 3)]
    after = total_cost(count_cost(without_connections(checkpoint, cuts).spec, 16))["params"]
    is_cut = (table["target_kind"] == "classifier") & (table["source_layer"] == 0)
    assert whole - price[is_cut].sum() == pytest.approx(after)
