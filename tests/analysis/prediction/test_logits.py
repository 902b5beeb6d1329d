"""Logit by layer, against the network's own scores, naive sums by hooks and networks worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from analysis.prediction.logits import contrast, last_third_share, logit_contributions, mean_contributions
from densenet_core import CheckpointError, DataError, DenseNetSpec, ResNetSpec, create_model
from densenet_core.networks.build import build_model
from densenet_core.networks.relatives.deeply_supervised_spec import DeeplySupervisedSpec
from tests.analysis.prediction.networks import CHECKPOINTS, DENSE, checkpoint_of, images_for, pruned


def logits(table: pd.DataFrame) -> np.ndarray:
    return table.groupby(["image", "class"])["contribution"].sum().unstack().to_numpy()


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_parts_sum_to_the_logit(name: str, dtype: torch.dtype, tolerance: float) -> None:
    checkpoint = CHECKPOINTS[name]()
    images = images_for(checkpoint.architecture, dtype=dtype)
    with torch.inference_mode():
        scores = checkpoint.to_model().to(dtype)(images).numpy()
    found = logits(logit_contributions(checkpoint, images))
    assert np.abs(found - scores).max() <= tolerance * np.abs(scores).max()


def test_each_part_is_what_a_hook_on_the_classifier_sees() -> None:
    checkpoint = checkpoint_of(DENSE["BC"])
    model, images, seen = checkpoint.to_model(), images_for(DENSE["BC"]), []
    model.classifier.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.inference_mode():
        model(images)
    table = logit_contributions(checkpoint, images, classes=[2]).set_index(["image", "source_layer"])["contribution"]
    first, weight = 0, model.classifier.weight[2].detach()
    for source, width in enumerate(DENSE["BC"].source_channels(2)):
        for image in range(len(images)):
            channels = range(first, first + width)
            naive = sum(float(seen[0][image, c]) * float(weight[c]) for c in channels)
            assert table[image, source] == pytest.approx(naive, rel=1e-4, abs=1e-6)
        first += width
    assert table[0, -1] == pytest.approx(float(model.classifier.bias[2]))


def test_columns_and_rows() -> None:
    table = logit_contributions(checkpoint_of(DENSE["BC"]), images_for(DENSE["BC"]), classes=[4, 1])
    assert list(table.columns) == ["image", "class", "source_layer", "contribution"]
    assert len(table) == 3 * 2 * 4  # images, classes, bias and three sources
    assert table["class"].unique().tolist() == [4, 1]
    assert table["source_layer"].unique().tolist() == [-1, 0, 1, 2]


def test_a_class_that_reads_one_layer_only() -> None:
    checkpoint = checkpoint_of(DENSE["BC"])
    model = checkpoint.to_model()
    low = sum(DENSE["BC"].source_channels(2)[:2])
    with torch.no_grad():
        model.classifier.weight[3] = 0
        model.classifier.weight[3, low] = 1
    table = logit_contributions(model, images_for(DENSE["BC"]), classes=[3])
    live = table[table["contribution"] != 0]
    assert set(live["source_layer"]) <= {-1, 2}
    assert (live["source_layer"] == 2).any()


def test_permuted_channels_inside_a_source_change_nothing() -> None:
    spec = DenseNetSpec((2, 2), 4, 8, bottleneck=False, num_classes=5)
    model, images = checkpoint_of(spec).to_model(), images_for(DENSE["BC"])
    before = logit_contributions(model, images)
    order = torch.tensor([2, 0, 3, 1])
    layer, norm = model.get_submodule("features.denseblock2.denselayer2"), model.features.norm5
    first = sum(spec.source_channels(2)[:2])
    with torch.no_grad():
        layer.conv1.weight.copy_(layer.conv1.weight[order])
        model.classifier.weight[:, first:] = model.classifier.weight[:, first:][:, order]
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor[first:] = tensor[first:][order]
    after = logit_contributions(model, images)
    np.testing.assert_allclose(after["contribution"], before["contribution"], atol=1e-5)


def test_a_cut_source_adds_nothing() -> None:
    table = logit_contributions(pruned(), images_for(DENSE["BC"]))
    assert (table.loc[table["source_layer"] == 1, "contribution"] == 0).all()
    assert (table.loc[table["source_layer"] == 2, "contribution"] != 0).any()


def test_the_residual_branch_that_is_zero_adds_nothing() -> None:
    spec = ResNetSpec((2, 2), num_classes=5)
    model = checkpoint_of(spec).to_model()
    with torch.no_grad():
        model.layer2[1].bn2.weight.zero_()
        model.layer2[1].bn2.bias.zero_()
    table = logit_contributions(model, images_for(spec))
    size = table.groupby("source_layer")["contribution"].apply(lambda own: own.abs().max())
    assert size[2] < 1e-6 < size[1]


def test_the_network_passed_in_is_left_as_it_was() -> None:
    model = create_model("densenet-bc-16-4").train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    logit_contributions(model, images_for(DENSE["BC"]).double())
    assert model.training and next(model.parameters()).requires_grad
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_a_deeply_supervised_network_is_its_base() -> None:
    model: nn.Module = build_model(DeeplySupervisedSpec(DENSE["BC"])).eval()
    images = images_for(DENSE["BC"])
    np.testing.assert_allclose(logits(logit_contributions(model, images)), model(images).detach(), atol=1e-5)


def test_why_this_class_and_not_that() -> None:
    checkpoint, images = checkpoint_of(DENSE["BC"]), images_for(DENSE["BC"])
    scores = checkpoint.to_model()(images).detach()
    why = contrast(logit_contributions(checkpoint, images), 3, 1)
    found = why.groupby("image")["contribution"].sum()
    np.testing.assert_allclose(found, scores[:, 3] - scores[:, 1], atol=1e-5)


def test_mean_over_a_class() -> None:
    checkpoint, images = checkpoint_of(DENSE["BC"]), images_for(DENSE["BC"])
    table = mean_contributions(logit_contributions(checkpoint, images, classes=[3]))
    assert table["num_images"].unique().tolist() == [3]
    assert table["contribution"].sum() == pytest.approx(float(checkpoint.to_model()(images)[:, 3].mean()), rel=1e-4)


def test_share_of_the_last_third() -> None:
    table = pd.DataFrame({"source_layer": [-1, 0, 1, 2, 3, 4, 5], "contribution": [99, 1, 1, 1, 1, 3, -3]})
    assert last_third_share(table) == pytest.approx(0.6)


def test_what_is_wrong_is_said() -> None:
    checkpoint, images = checkpoint_of(DENSE["BC"]), images_for(DENSE["BC"])
    with pytest.raises(DataError, match="classes has 5: the network predicts classes 0 to 4"):
        logit_contributions(checkpoint, images, classes=[5])
    with pytest.raises(DataError, match="class 1 is not in the table"):
        contrast(logit_contributions(checkpoint, images, classes=[3]), 3, 1)
    with pytest.raises(DataError, match=r"images have the shape \(3, 1, 16, 16\): the network takes \(N, 3, H, W\)"):
        logit_contributions(checkpoint, images[:, :1])
    with pytest.raises(DataError, match="images is empty"):
        logit_contributions(checkpoint, images[:0])
    with pytest.raises(CheckpointError, match="has no logit by layer"):
        logit_contributions(build_model(ResNetSpec.plain(8, num_classes=5)), images)
