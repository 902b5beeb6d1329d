"""The words that several figures share, as phrases: axes, kinds of targets, titles of blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from analysis.reuse.scaling import Scaling
from analysis.words import VALUE_TITLES, Phrase, phrases

EPOCH = Phrase("figures.epoch", "epoch")
PROBABILITY = Phrase("figures.probability", "probability")
TARGET_LAYER = Phrase("figures.target_layer", "target layer ℓ")
SOURCE_LAYER = Phrase("figures.source_layer", "source layer s")
LAYER_FROM_INPUT = Phrase("figures.layer_from_input", "layer (0: the block's input)")
ERROR_TITLES = phrases(
    "error_kinds",
    {
        "test": "test error (%)",
        "top1_single_crop": "top-1 validation error (%)",
        "top5_single_crop": "top-5 validation error (%)",
        "top1_10_crop": "top-1 validation error, 10-crop (%)",
        "top5_10_crop": "top-5 validation error, 10-crop (%)",
    },
)
TEST_ERROR = ERROR_TITLES["test"]
AXIS_TITLES = {  # of costs, on paper
    "params": "number of parameters",
    "mult_adds": "mult_adds",
    "flops": "FLOPs (2 x mult_adds)",
    "activation_bytes": "activation memory in training (bytes)",
}
KIND_TITLES = VALUE_TITLES["target_kind"]
SCALED_TITLES: dict[Scaling, Phrase] = phrases(
    "scaled",
    {
        "kind_max": "kind's maximum",
        "block_max": "block's maximum",
        "network_max": "network's maximum",
        "target_max": "target's maximum",
        "target_minmax": "target's range",
        "dense_max": "dense layers' maximum",
        "rank": "rank",
        "signed_log": "logarithm",
    },
)


_STAGES: dict[str, Callable[[str], Phrase]] = {
    "stem": lambda _: Phrase("stages.stem", "stem"),
    "block": lambda number: Phrase("stages.block", "block {number}", number=number),
    "transition": lambda number: Phrase("stages.transition", "transition {number}", number=number),
    "layer": lambda number: Phrase("stages.layer", "stage {number}", number=number),  # torchvision's name in a ResNet
    "stage": lambda number: Phrase("stages.stage", "stage {number}", number=number),
    "companions": lambda _: Phrase("stages.companions", "companion classifiers"),
    "head": lambda _: Phrase("stages.head", "classifier"),
    "Convolution": lambda _: Phrase("stages.Convolution", "Convolution"),  # from here on as in the paper's Table 1
    "Pooling": lambda _: Phrase("stages.Pooling", "Pooling"),
    "Dense Block": lambda number: Phrase("stages.Dense Block", "Dense Block ({number})", number=number),
    "Transition Layer": lambda number: Phrase("stages.Transition Layer", "Transition Layer ({number})", number=number),
    "Classification Layer": lambda _: Phrase("stages.Classification Layer", "Classification Layer"),
}


def stage_title(stage: str) -> str:
    """Return a stage in words, a phrase: as ``count_cost`` or ``architecture_table`` names it; other text as it is.

    >>> [stage_title(stage) for stage in ("block2", "head", "Dense Block (1)", "")]
    ['block 2', 'classifier', 'Dense Block (1)', '']
    """
    name, number = re.fullmatch(r"(.*?) ?\(?(\d*)\)?", stage).groups()  # type: ignore[union-attr]
    return _STAGES[name](number) if name in _STAGES else stage


def number_block(block: object) -> Phrase:
    """Return the title of a block of any network."""
    return Phrase("figures.block", "Block {block}", block=block)


def number_dense_block(block: object) -> Phrase:
    """Return the title of a dense block."""
    return Phrase("figures.dense_block", "Dense block {block}", block=block)


def name_kinds(kinds: Iterable[str]) -> str:
    """Return kinds of targets in words, each once, such as "transition / classifier"; empty if there are none."""
    words = ""
    for kind in dict.fromkeys(kinds):
        words = divide(words, KIND_TITLES[kind]) if words else KIND_TITLES[kind]
    return words


def divide(first: str, second: str) -> Phrase:
    """Return two titles with a slash between them."""
    return Phrase("figures.fraction", "{first} / {second}", first=first, second=second)
