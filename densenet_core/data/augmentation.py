"""The paper's "+" for small images (section 4.1): random mirroring and shifting, on the device of the images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """Random mirroring, and shifting by up to ``shift`` pixels with zero padding."""

    mirror: bool
    shift: int


@dataclass(frozen=True)
class Moves:
    """How to move each of N images; drawn on the CPU, so that it does not depend on the device."""

    mirrored: Tensor  # (N,) bool
    top: Tensor  # (N,) pixels, 0 to 2 * shift
    left: Tensor  # (N,)

    def of(self, rows: Tensor) -> Moves:
        """Return the moves of some of the images."""
        return Moves(self.mirrored[rows], self.top[rows], self.left[rows])


CIFAR_AUGMENTATION = Augmentation(mirror=True, shift=4)
DIGITS_AUGMENTATION = Augmentation(
    mirror=False, shift=1
)  # a mirrored digit is not a digit; 8x8 pixels allow a shift of 1


def draw_moves(augmentation: Augmentation, num_images: int, generator: Generator) -> Moves:
    """Draw for each image whether to mirror it (probability 1/2) and how far to shift it."""
    mirrored = torch.zeros(num_images, dtype=torch.bool)
    if augmentation.mirror:
        mirrored = torch.rand(num_images, generator=generator) < 0.5
    top, left = torch.randint(2 * augmentation.shift + 1, (2, num_images), generator=generator)
    return Moves(mirrored, top, left)


def augment_images(images: Tensor, augmentation: Augmentation, moves: Moves) -> Tensor:
    """Return the images mirrored and shifted: (N, C, H, W) -> (N, C, H, W), on their device."""
    n, channels, height, width = images.shape
    place = images.device
    mirrored, top, left = (moved.to(place, non_blocking=True) for moved in (moves.mirrored, moves.top, moves.left))
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    padded = F.pad(images, (augmentation.shift,) * 4)
    rows = (top[:, None] + torch.arange(height, device=place))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width, device=place))[:, None, None, :]
    image = torch.arange(n, device=place)[:, None, None, None]
    return padded[image, torch.arange(channels, device=place)[:, None, None], rows, columns]
