"""The names of data sets and of channel statistics, which the command line lists without importing torch."""

from __future__ import annotations

from typing import Literal, get_args

DatasetName = Literal["digits", "cifar10", "cifar100", "svhn", "imagenet", "folder"]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)
Normalization = Literal["cifar10", "cifar100", "imagenet", "digits", "none"]

# Channel means and standard deviations over the training images, in units of 0..1. The CIFAR values are those of
# fb.resnet.torch, on which the paper's code is based (there in 0..255: 125.3, 123.0, 113.9, ...).
# "none" only divides by 255, as the paper does for SVHN (section 4.1).
CHANNEL_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "digits": ((0.3052,), (0.3760,)),
    "none": ((0.0,), (1.0,)),
}
