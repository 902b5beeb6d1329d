"""The naming schemes of other libraries for a network's tensors, and their translation to torchvision's names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from densenet_core.arrays import Array
from densenet_core.checkpoints.identify.infer_spec import Shapes, infer_densenet_spec, infer_resnet_spec
from densenet_core.errors import CheckpointError, SeveralNetworksError
from densenet_core.networks.spec import Spec

OUR_EPSILON = 1e-5  # of our batch norms; a difference to another library's is added to the running variance
Rules = tuple[tuple[str, str], ...]  # (pattern of a whole key, replacement); {\1+1} shifts a number


@dataclass(frozen=True)
class Layout:
    """A naming scheme for a network's tensors.

    ``anchor`` matches a key that only this layout has. Whatever precedes it is a prefix (``module.``, ``model.``,
    ``module.densenet121.``) that is removed from every key.
    """

    name: str
    anchor: str
    rules: Rules = ()
    infer: Callable[[Shapes], Spec] = infer_densenet_spec
    not_used: tuple[str, ...] = ()  # tensors that are not part of the network

    @property
    def example(self) -> str:
        """Return a name that only this layout has."""
        return self.anchor.replace("\\", "").replace("?", "")

    def rename(self, key: str) -> str:
        """Return our name for a tensor: unchanged if no rule matches."""
        for pattern, replacement in self.rules:
            if match := re.fullmatch(pattern, key):
                return re.sub(r"\{(\d+)([+-]1)\}", lambda m: str(int(m[1]) + int(m[2])), match.expand(replacement))
        return key

    def rename_all(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Return the tensors under our names.

        Raises:
            CheckpointError: two tensors get the same name.
        """
        renamed: dict[str, Array] = {}
        for key, tensor in tensors.items():
            new_key = self.rename(key)
            if new_key in renamed:
                raise CheckpointError(f"two tensors of the file translate to {new_key!r}: one of them is {key!r}")
            renamed[new_key] = tensor
        return renamed


_TENSOR = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_LAYER = r"features.denseblock\1.denselayer"


def _cifar(layer: str) -> Rules:
    """Return the rules of CIFAR repositories, whose blocks and layers match ``layer``; layers count from 0."""
    return (
        (r"conv1\.weight", r"features.conv0.weight"),
        (rf"{layer}\.bn([12])\.{_TENSOR}", r"features.denseblock\1.denselayer{\2+1}.norm\3.\4"),
        (rf"{layer}\.conv([12])\.weight", r"features.denseblock\1.denselayer{\2+1}.conv\3.weight"),
        (rf"trans(\d+)\.bn1?\.{_TENSOR}", r"features.transition\1.norm.\2"),
        (r"trans(\d+)\.conv1?\.weight", r"features.transition\1.conv.weight"),
        (rf"bn1?\.{_TENSOR}", r"features.norm5.\1"),
        (r"(?:fc|linear)\.(weight|bias)", r"classifier.\1"),
    )


LAYOUTS = (
    Layout(
        "torchvision",  # timm's, gpleiss's and torchxrayvision's too
        r"features\.denseblock1\.denselayer1\.norm1\.weight",
        ((rf"features\.norm_final\.{_TENSOR}", r"features.norm5.\1"),),
        not_used=("op_threshs",),  # torchxrayvision's operating points
    ),
    Layout(
        "torchvision's features alone",  # also fastai's body, 0.0.conv0
        r"denseblock1\.denselayer1\.norm1\.weight",
        ((r"((?:conv|norm)\d|denseblock\d+|transition\d+)\.(.+)", r"features.\1.\2"),),
    ),
    Layout(
        "torchvision before 2018",
        r"features\.denseblock1\.denselayer1\.norm\.1\.weight",
        ((r"(features\.denseblock\d+\.denselayer\d+\.(?:norm|conv))\.([12]\..+)", r"\1\2"),),
    ),
    Layout(
        "MONAI",
        r"features\.denseblock1\.denselayer1\.layers\.norm1\.weight",
        (
            (r"(features\.denseblock\d+\.denselayer\d+)\.layers\.(.+)", r"\1.\2"),
            (r"class_layers\.out\.(weight|bias)", r"classifier.\1"),
        ),
    ),
    Layout(
        "pytorchcv",
        r"features\.stage1\.unit1\.conv1?\.bn\.weight",
        (
            (r"features\.init_block\.(?:conv\.)?weight", r"features.conv0.weight"),
            (rf"features\.init_block\.bn\.{_TENSOR}", r"features.norm0.\1"),
            (rf"features\.stage(\d+)\.unit(\d+)\.conv\.bn\.{_TENSOR}", rf"{_LAYER}\2.norm1.\3"),
            (r"features\.stage(\d+)\.unit(\d+)\.conv\.conv\.weight", rf"{_LAYER}\2.conv1.weight"),
            (rf"features\.stage(\d+)\.unit(\d+)\.conv([12])\.bn\.{_TENSOR}", rf"{_LAYER}\2.norm\3.\4"),
            (r"features\.stage(\d+)\.unit(\d+)\.conv([12])\.conv\.weight", rf"{_LAYER}\2.conv\3.weight"),
            (rf"features\.stage(\d+)\.trans\d+\.conv\.bn\.{_TENSOR}", r"features.transition{\1-1}.norm.\2"),
            (r"features\.stage(\d+)\.trans\d+\.conv\.conv\.weight", r"features.transition{\1-1}.conv.weight"),
            (rf"features\.post_activ\.bn\.{_TENSOR}", r"features.norm5.\1"),
            (r"output\.(weight|bias)", r"classifier.\1"),
        ),
    ),
    Layout(
        "Keras applications",
        r"conv2_block1_0_bn\.weight",
        (
            (r"conv1_conv\.weight", r"features.conv0.weight"),
            (rf"conv1_bn\.{_TENSOR}", r"features.norm0.\1"),
            (rf"conv(\d+)_block(\d+)_0_bn\.{_TENSOR}", r"features.denseblock{\1-1}.denselayer\2.norm1.\3"),
            (r"conv(\d+)_block(\d+)_([12])_conv\.weight", r"features.denseblock{\1-1}.denselayer\2.conv\3.weight"),
            (rf"conv(\d+)_block(\d+)_1_bn\.{_TENSOR}", r"features.denseblock{\1-1}.denselayer\2.norm2.\3"),
            (rf"pool(\d+)_bn\.{_TENSOR}", r"features.transition{\1-1}.norm.\2"),
            (r"pool(\d+)_conv\.weight", r"features.transition{\1-1}.conv.weight"),
            (rf"bn\.{_TENSOR}", r"features.norm5.\1"),
            (r"(?:predictions|dense(?:_\d+)?)\.(weight|bias)", r"classifier.\1"),
        ),
    ),
    Layout(
        "Wide ResNet",  # shares block1.layer.0 with the next layout
        r"block1\.layer\.0\.convShortcut\.weight",
        (
            (r"block(\d+)\.layer\.(\d+)\.convShortcut\.weight", r"layer\1.\2.downsample.0.weight"),
            (r"block(\d+)\.layer\.(\d+)\.(.+)", r"layer\1.\2.\3"),
            (rf"bn1\.{_TENSOR}", r"bn.\1"),
        ),
        infer_resnet_spec,
    ),
    Layout(
        "CIFAR style (block1.layer.0)",
        r"block1\.layer\.0\.bn1\.weight",
        _cifar(r"block(\d+)\.layer\.(\d+)"),
    ),
    Layout(
        "CIFAR style (dense1.0)",  # kuangliu's, which concatenates new maps first, and bamos's, which does not
        r"dense1\.0\.bn1\.weight",
        _cifar(r"dense(\d+)\.(\d+)"),
    ),
    Layout(
        "ResNet",  # torchvision's, and the CIFAR repositories' with `linear` and `shortcut`
        r"layer1\.0\.conv1\.weight",
        (
            (r"linear\.(weight|bias)", r"fc.\1"),
            (rf"(layer\d+\.\d+)\.shortcut\.([01])\.{_TENSOR}", r"\1.downsample.\2.\3"),
        ),
        infer_resnet_spec,
    ),
)

OWN = Layout("DenseNet Lens", "")  # for families that have no public naming scheme


def matching_prefixes(layout: Layout, tensors: Iterable[str]) -> list[str]:
    """Return what precedes the names of a layout in a state dict; empty if no tensor has the layout's names."""
    matches = (re.fullmatch(rf"(?P<prefix>(?:.*\.)?){layout.anchor}", key) for key in tensors)
    return sorted({match["prefix"] for match in matches if match})


def find_layout(tensors: Iterable[str]) -> tuple[Layout, str] | None:
    """Return the layout of a state dict and the prefix of its names, or None if no layout matches.

    Raises:
        SeveralNetworksError: the tensors belong to several networks.
    """
    keys = list(tensors)
    for layout in LAYOUTS:
        prefixes = matching_prefixes(layout, keys)
        if len(prefixes) > 1:
            raise SeveralNetworksError([prefix.removesuffix(".") for prefix in prefixes])
        if prefixes:
            return layout, prefixes[0]
    return None
