"""The paper's "+" for small images (section 4.1): mirroring and shifting at random, on the device with the images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """Random mirroring and shifting: shifts are in pixels, padded with zeros."""

    mirror: bool
    shift: int


@dataclass(frozen=True)
class Moves:
    """What is to be done to each of N images; drawn apart from doing it, so that it does not depend on the device."""

    mirrored: Tensor  # (N,) bool
    top: Tensor  # (N,) pixels, 0 to 2 * shift
    left: Tensor  # (N,)

    def of(self, rows: Tensor) -> Moves:
        """Those of some of the images."""
        return Moves(self.mirrored[rows], self.top[rows], self.left[rows])


CIFAR_AUGMENTATION = Augmentation(mirror=True, shift=4)
DIGITS_AUGMENTATION = Augmentation(mirror=False, shift=1)  # a mirrored digit is no digit; 8x8 pixels bear a shift of 1


def draw_moves(augmentation: Augmentation, num_images: int, generator: Generator) -> Moves:
    """Mirrors half of the images and shifts each by up to ``shift`` pixels either way."""
    mirrored = torch.zeros(num_images, dtype=torch.bool)
    if augmentation.mirror:
        mirrored = torch.rand(num_images, generator=generator) < 0.5
    top, left = torch.randint(2 * augmentation.shift + 1, (2, num_images), generator=generator)
    return Moves(mirrored, top, left)


def augmented(images: Tensor, augmentation: Augmentation, moves: Moves) -> Tensor:
    """The images mirrored and shifted; (N, C, H, W) -> the same shape, on their device."""
    n, channels, height, width = images.shape
    place = images.device
    mirrored, top, left = (moved.to(place, non_blocking=True) for moved in (moves.mirrored, moves.top, moves.left))
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    padded = F.pad(images, (augmentation.shift,) * 4)
    rows = (top[:, None] + torch.arange(height, device=place))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width, device=place))[:, None, None, :]
    image = torch.arange(n, device=place)[:, None, None, None]
    return padded[image, torch.arange(channels, device=place)[:, None, None], rows, columns]
