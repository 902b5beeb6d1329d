"""Specs of DenseNets with other stems, transitions and classifiers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from analysis.reuse.dissection import dissect
from densenet_core import (
    DenseNetSpec,
    checkpoint_from_state_dict,
    fuse,
)
from densenet_core.checkpoints.identify.infer_spec import infer_densenet_spec, list_assumptions
from densenet_core.checkpoints.identify.variants import POOLED, UNBIASED, with_plain_head
from densenet_core.networks.build import build_model
from densenet_core.networks.layers import network_layers, tensor_shapes
from tests.densenet_core.checkpoints.identify.handmade.stems import Blur, Handmade, assert_same_scores, deep_stem

SPEC = DenseNetSpec((2, 2, 2), 4, 8, num_classes=5)


def test_blur_pooling_is_a_binomial_filter() -> None:
    torch.manual_seed(0)
    model = Handmade(deep_stem(nn.MaxPool2d(3, 1, 1), Blur()), pool=Blur()).eval()
    found = checkpoint_from_state_dict(model.state_dict())
    assert isinstance(found.spec, DenseNetSpec)
    blurred = replace(found, spec=replace(found.spec, blur_pool=True))
    for network in (blurred.to_model(), fuse(blurred.to_model()), dissect(blurred)):  # type: ignore[arg-type]
        assert_same_scores(network, model)
    odd = torch.randn(2, 3, 57, 57)
    with torch.inference_mode():
        torch.testing.assert_close(blurred.to_model()(odd), model(odd), rtol=1e-5, atol=1e-5)
        last = blurred.to_model().get_submodule("features")(odd).shape[-1]
    assert network_layers(blurred.architecture, 57)[-2].in_size == last


def test_the_smallest_input_of_blur_pooling_is_the_smallest_that_runs() -> None:
    spec = DenseNetSpec((1, 1), 2, 4, stem="imagenet", stem_widths=(4, 4), blur_pool=True)
    model = build_model(spec).eval()
    runs = []
    for size in range(1, 24):
        try:
            network_layers(spec, size)
        except ValueError as error:
            assert "too small" in str(error)
            with pytest.raises(RuntimeError):
                model(torch.zeros(1, 3, size, size))
        else:
            assert model(torch.zeros(1, 3, size, size)).isfinite().all()
            runs.append(size)
    assert runs == list(range(runs[0], 24))


def test_timms_densenetblur121d_and_densenet264d_are_known_by_their_shapes() -> None:
    blur = DenseNetSpec(
        (6, 12, 24, 16), 32, 64, num_classes=1000, stem="imagenet", stem_widths=(32, 32), blur_pool=True
    )
    assert infer_densenet_spec(tensor_shapes(blur)) == blur
    assert any("densenetblur121d" in words for words in list_assumptions(blur))
    large = DenseNetSpec((6, 12, 64, 48), 48, 96, num_classes=1000, stem="imagenet", stem_widths=(48, 48))
    assert infer_densenet_spec(tensor_shapes(large)) == large


def test_a_convolution_without_bias_becomes_a_linear_layer_with_0() -> None:
    state, assumed = with_plain_head({"classifier.conv.weight": torch.ones(5, 8, 1, 1).numpy()})
    assert {key: array.shape for key, array in state.items()} == {"classifier.weight": (5, 8), "classifier.bias": (5,)}
    assert not state["classifier.bias"].any()
    assert assumed == (POOLED, f"{UNBIASED} (5 parameters more than in the file)")


variants = st.fixed_dictionaries(
    {},
    optional={
        "head_widths": st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
        "transition_widths": st.lists(st.integers(1, 99), min_size=2, max_size=2).map(tuple),
        "bottleneck": st.booleans(),
        "spatial_dims": st.integers(1, 3),
    },
)


stems = st.one_of(
    st.builds(lambda norm, side: {"stem_norm": norm, "stem_kernel": side}, st.booleans(), st.sampled_from([1, 3, 5])),
    st.lists(st.integers(1, 20), max_size=3).map(lambda widths: {"stem": "imagenet", "stem_widths": tuple(widths)}),
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(variants, stems)
def test_every_variant_is_read_back_from_its_state_dict(fields: dict[str, Any], stem: dict[str, Any]) -> None:
    spec = DenseNetSpec((2, 1, 2), 3, 8, **fields, **stem)
    with torch.device("meta"):
        state = build_model(spec).state_dict()
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    assert tensor_shapes(spec) == shapes
    found = infer_densenet_spec(shapes)
    assert found.block_inputs == spec.block_inputs
    same = {"compression": spec.compression, "transition_widths": spec.transition_widths}  # many give the same widths
    assert replace(found, **same) == spec


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stem_kernel": 4}, "stem_kernel 4 is not an odd number up to 15"),
        ({"stem_kernel": 1, "stem": "imagenet"}, "stem_kernel is for the stem 'cifar'"),
        ({"stem_norm": True, "stem": "imagenet"}, "stem_norm is for the stem 'cifar'"),
        ({"stem_widths": (4,)}, "need the stem 'imagenet'"),
        ({"blur_pool": True}, "need the stem 'imagenet'"),
        ({"blur_pool": True, "stem": "imagenet", "spatial_dims": 3}, "blur_pool needs spatial_dims 2, not 3"),
        ({"transition_widths": (4,)}, r"transition_widths \(4,\) must have 2 numbers"),
        ({"stem_widths": (4,) * 101, "stem": "imagenet"}, "stem_widths must be a tuple of at most 100 numbers"),
        ({"head_widths": 5}, "head_widths must be a tuple"),
        ({"head_widths": (0,)}, r"head_widths \(0,\) must contain whole numbers, 1 or more"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DenseNetSpec((2, 1, 2), 3, 8, **fields)


def test_a_plain_network_is_described_as_before() -> None:
    assert SPEC.visible_fields().keys().isdisjoint(DenseNetSpec.VARIANT_FIELDS)
    assert replace(SPEC, head_widths=(3,)).visible_fields()["head_widths"] == (3,)
