"""What holds for every family of the table: its arithmetic is that of the networks that are built."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.architecture.paths import path_counts
from densenet_core import DeeplySupervisedSpec, DenseNetSpec, FractalNetSpec, HighwaySpec, ResNetSpec
from densenet_core.networks.build import build_model
from densenet_core.networks.families import FAMILIES, FAMILY_BY_NAME, family_of
from densenet_core.networks.layers import network_layers, tensor_shapes
from densenet_core.networks.names import MODEL_NAMES, spec_from_name
from densenet_core.networks.network import Network
from densenet_core.networks.spec import Spec

SMALL = (
    "densenet-10-4",
    "densenet-bc-16-4",
    "resnet-8",
    "preact-resnet-11",
    "wrn-10-2",
    "plain-8",
    "resnet18",
    "highway-7-4",
    "fractalnet-2-3-4",
    "dsn-highway-7-4",
)
few = st.integers(1, 3)
counts = st.lists(few, min_size=1, max_size=3).map(tuple)
sizes = {"num_classes": st.integers(1, 5), "in_channels": few}


@st.composite
def densenets(draw: st.DrawFn) -> DenseNetSpec:
    blocks = draw(counts)
    every = [(b, s, t) for b, n in enumerate(blocks, 1) for t in range(2, n + 2) for s in range(t - 1)]
    cuts = draw(st.sets(st.sampled_from(every), max_size=3)) if every else set()
    options = {name: draw(values) for name, values in sizes.items()}
    return DenseNetSpec(
        blocks,
        growth_rate=draw(few),
        num_init_features=draw(st.integers(8, 12)),
        bottleneck=draw(st.booleans()),
        compression=draw(st.floats(0.5, 1)),
        stem=draw(st.sampled_from(["cifar", "imagenet"])),
        bn_size=draw(few),
        spatial_dims=draw(few),
        cuts=tuple(cuts),  # the last source before a target is never cut
        **options,
    )


resnets = st.builds(
    ResNetSpec,
    counts,
    block=st.sampled_from(["basic", "bottleneck"]),
    num_init_features=few,
    width_factor=few,
    preactivation=st.booleans(),
    shortcut=st.sampled_from(["projection", "identity", "none"]),
    **sizes,
)
highways = st.lists(st.tuples(few, few), min_size=1, max_size=3).flatmap(
    lambda stages: st.builds(HighwaySpec, *(st.just(part) for part in zip(*stages, strict=True)), **sizes)
)
fractals = st.builds(FractalNetSpec, counts, num_columns=few, widens_apart=st.booleans(), **sizes)
UNDIVIDED = {DenseNetSpec: densenets(), ResNetSpec: resnets, HighwaySpec: highways, FractalNetSpec: fractals}
undivided = st.one_of(*UNDIVIDED.values())
supervised = undivided.filter(lambda spec: len(spec.block_ends()) > 1).map(DeeplySupervisedSpec)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@example(spec_from_name("densenet161"))
@example(spec_from_name("resnet50"))
@example(spec_from_name("fractalnet-21"))
@given(st.one_of(undivided, supervised))
def test_tensor_shapes_are_those_of_the_network(spec: Spec) -> None:
    with torch.device("meta"):
        model = build_model(spec)
    assert tensor_shapes(spec) == {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def test_every_family_is_drawn() -> None:
    drawn = {*UNDIVIDED, DeeplySupervisedSpec}
    assert drawn == {family.spec for family in FAMILIES} == {type(spec_from_name(name)) for name in SMALL}


@pytest.mark.parametrize("name", SMALL)
def test_a_family_says_what_its_network_has(name: str) -> None:
    """Block ends and the sample layer, against hooks on the modules of these names."""
    spec = spec_from_name(name, num_classes=4)
    model = build_model(spec).eval()
    assert isinstance(model, Network)
    assert type(model) is family_of(spec).load_network()
    seen: dict[str, int] = {}
    for module_name, module in model.named_modules():
        module.register_forward_hook(lambda _, __, out, key=module_name: seen.update({key: out.shape[1]}))
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 4)
    assert spec.block_ends()
    for end, maps in spec.block_ends().items():
        assert seen[end] == maps
    inside = [layer for layer in network_layers(spec, 64) if layer.name.startswith(f"{spec.sample_layer}.")]
    assert inside[-1].out_maps == seen[spec.sample_layer] + (inside[0].in_maps if inside[-1].kind == "concat" else 0)


@pytest.mark.parametrize("name", [name for name in (*MODEL_NAMES, *SMALL) if not re.search(r"\d{4}", name)])
def test_the_longest_path_is_the_depth(name: str) -> None:
    spec = spec_from_name(name)
    not_counted = 2 * ("wrn" in name)  # a Wide ResNet's authors count its projections
    assert path_counts(spec)["length"].max() == spec.depth - not_counted


def test_each_example_is_its_familys_own() -> None:
    for family in FAMILIES:
        assert {type(spec_from_name(name)) for name in family.spec.EXAMPLES} == {family.spec}


def test_the_names_in_files_stay() -> None:
    assert set(FAMILY_BY_NAME) >= {"DenseNet", "ResNet", "Highway", "FractalNet", "DeeplySupervised"}


@pytest.mark.slow
def test_a_spec_is_read_without_torch() -> None:
    script = (
        "import sys; from densenet_core.networks import names, layers\n"
        "for name in names.MODEL_NAMES:\n"
        "    spec = names.published_spec(name)\n"
        "    layers.network_layers(spec, 224); layers.tensor_shapes(spec); spec.paths()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.parametrize(("widths", "columns"), [((4,), 13), ((4,) * 1000, 3)])
def test_a_fractalnet_that_would_take_hours_is_refused(widths: tuple[int, ...], columns: int) -> None:
    with pytest.raises(ValueError, match=r"num_columns 13 must be at most 12|adds up to 4,000 layers"):
        FractalNetSpec(widths, columns)
    assert FractalNetSpec((1024, 2048), 2).depth == 5  # wide is not deep
