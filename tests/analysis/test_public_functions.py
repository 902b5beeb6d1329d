"""What users of notebooks give to the public functions: networks in every form, own images, filtered tables."""

import numpy as np
import pandas as pd
import pytest
import torch

import analysis
from densenet_core import (
    CheckpointError,
    DataError,
    DenseNetSpec,
    checkpoint_from_state_dict,
    create_model,
    images_from_arrays,
    load_test_images,
)

NAME = "densenet-10-4"
MODEL = create_model(NAME, in_channels=1)
CHECKPOINT = checkpoint_from_state_dict(MODEL.state_dict())
TABLE = analysis.connection_weights(CHECKPOINT)
OF_A_SPEC = [
    analysis.count_cost,
    analysis.path_counts,
    analysis.layer_paths,
    analysis.direct_connections,
    analysis.supervision,
    analysis.training_activation_bytes,
]
OF_A_TABLE = [
    analysis.feature_reuse_figure,
    analysis.figure5_observations,
    analysis.target_share,
    lambda table: analysis.scale_measure(table, "mean_abs_weight"),
    lambda table: analysis.prune(CHECKPOINT, table, "mean_abs_weight", 0.5),
]
ON_IMAGES = [
    analysis.connection_ablation,
    analysis.connection_effects,
    analysis.reuse_by_class,
    analysis.pooled_parts,
    analysis.layer_similarity,
    lambda network, images: analysis.measure_reuse(network, "taylor", images),
    lambda network, images: analysis.driving_images(network, images, (1, 1)),
    lambda network, images: analysis.check_claims(network, images),
]


@pytest.mark.parametrize("measure", OF_A_SPEC, ids=lambda function: function.__name__)
def test_every_form_of_a_network_has_the_same_architecture(measure):
    of_spec = measure(DenseNetSpec.cifar(10, 4, in_channels=1))
    for network in (CHECKPOINT, MODEL):
        found = measure(network)
        assert found.equals(of_spec) if isinstance(found, pd.DataFrame) else found == of_spec
    assert type(measure(NAME)) is type(of_spec)
    with pytest.raises(ValueError, match=r"network is a list: give a spec, a checkpoint .* or a name"):
        measure([1])


def test_networks_are_compared_by_their_names():
    named = analysis.compare({"own": CHECKPOINT, "other": "resnet-20"})
    assert list(named.columns) == ["own", "other"]
    assert list(analysis.compare([CHECKPOINT, "resnet-20"]).columns) == ["DenseNet (L=10, k=4)", "resnet-20"]
    with pytest.raises(ValueError, match="networks is one network: give a list"):
        analysis.compare("densenet121")
    with pytest.raises(ValueError, match="two networks are called 'resnet-20'"):
        analysis.compare(["resnet-20", "resnet-20"])
    with pytest.raises(ValueError, match="networks is empty"):
        analysis.compare([])


@pytest.mark.parametrize("function", OF_A_TABLE)
def test_tables_of_other_kinds_are_refused_in_words(function):
    with pytest.raises(ValueError, match="table is a Checkpoint: give the pandas DataFrame of connection_weights"):
        function(CHECKPOINT)
    with pytest.raises(ValueError, match="table has no rows"):
        function(TABLE[TABLE["block"] == 9])
    with pytest.raises(ValueError, match="table lacks the column 'target_kind'"):
        function(TABLE.drop(columns="target_kind"))


def test_a_filtered_table_is_drawn():
    assert len(analysis.feature_reuse_figure(TABLE[TABLE["block"] == 2]).axes) == 2
    with pytest.raises(
        ValueError, match=r"table has no column 'ablation': measure_reuse\(network, \['ablation'\], images"
    ):
        analysis.feature_reuse_figure(TABLE, "ablation")


@pytest.mark.parametrize("function", ON_IMAGES)
@pytest.mark.parametrize(
    "images", [np.zeros((2, 1, 8, 8)), torch.zeros(2, 1, 8, 8), [1]], ids=lambda own: type(own).__name__
)
def test_bare_arrays_are_refused_in_place_of_a_data_set(function, images):
    with pytest.raises(
        DataError, match=f"images is a {type(images).__name__}: give a data set, such as load_test_images"
    ):
        function(CHECKPOINT, images)


def test_images_of_ones_own_are_measured_as_a_data_set_is():
    digits = load_test_images("digits").subset(torch.arange(12))
    own = images_from_arrays(digits.pixels[:, 0].numpy(), digits.labels.tolist(), digits.class_names, "digits")
    expected = analysis.measure_reuse(CHECKPOINT, ["taylor"], digits)
    pd.testing.assert_frame_equal(analysis.measure_reuse(CHECKPOINT, "taylor", own), expected)


def test_pixels_have_their_channels_first_or_last():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    last = images_from_arrays(pixels, [0, 1])
    first = images_from_arrays(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.tensor([0, 1]))
    assert torch.equal(last.pixels, first.pixels) and last.class_names == ("0", "1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": np.zeros((2, 8, 8))}, "pixels has the type float64: give uint8"),
        ({"pixels": np.zeros((2, 8, 8, 5), np.uint8)}, r"pixels has the shape \(2, 8, 8, 5\): give"),
        ({"labels": [0]}, r"labels has the shape \(1,\): give a whole number for each image"),
        ({"labels": [0.0, 1.0]}, "give a whole number for each image"),
        ({"labels": [0, 2]}, "labels go from 0 to 2: class_names has 2"),
        ({"normalization": "mnist"}, "normalization 'mnist' is unknown: choose from cifar10"),
    ],
)
def test_arrays_that_are_no_labeled_images_are_refused(changes, message):
    given = {"pixels": np.zeros((2, 8, 8), np.uint8), "labels": [0, 1], "class_names": ["a", "b"]}
    with pytest.raises(DataError, match=message):
        images_from_arrays(**given | changes)


@pytest.mark.parametrize(
    "function",
    [
        analysis.logit_contributions,
        analysis.class_activation_maps,
        lambda network, images: analysis.grad_cam(network, images, "features.denseblock1", [0]),
        lambda network, images: analysis.layer_maps(network, images, "features.denseblock1"),
        lambda network, images: analysis.decision_connections(network, images, 0),
    ],
)
def test_batches_that_a_network_does_not_take_are_refused(function):
    with pytest.raises(DataError, match="images is a ndarray: give a tensor of floats"):
        function(CHECKPOINT, np.zeros((1, 1, 8, 8), np.float32))
    with pytest.raises(DataError, match="images is a tensor of uint8: give a tensor of floats"):
        function(CHECKPOINT, torch.zeros(1, 1, 8, 8, dtype=torch.uint8))


def test_one_name_is_a_list_of_one():
    assert "mean_abs_weight" in analysis.measure_reuse(CHECKPOINT, "mean_abs_weight")
    assert len(analysis.measured_results("no_such_run").attrs["skipped"]) == 1
    with pytest.raises(ValueError, match="measure taylor needs images: give images, such as"):
        analysis.measure_reuse(CHECKPOINT, "taylor")


def test_a_path_in_place_of_a_network_is_refused_with_the_way_out():
    with pytest.raises(CheckpointError, match=r"network is a str: give a Checkpoint.*load_checkpoint reads files"):
        analysis.connection_weights("file.pth")


def test_what_is_no_figure_and_no_name_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="figure is a DataFrame: give a Matplotlib figure"):
        analysis.save_figure(TABLE, tmp_path / "a.pdf")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="name is a DenseNetSpec: give a name such as 'densenet121'"):
        create_model(CHECKPOINT.spec)
