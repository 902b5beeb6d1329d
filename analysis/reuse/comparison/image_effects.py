"""The effect of every cut on every image: what intervals over images are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.reuse.measures import PLACE

EFFECTS = "image_effects"  # where ``attrs`` of a feature-reuse table holds them


@dataclass(frozen=True, eq=False)
class ImageEffects:
    """The change of each image's loss by each cut: 4 bytes for each image and connection."""

    connections: pd.MultiIndex  # block, source_layer, target_layer
    values: np.ndarray  # (images, connections), nats, float32

    def resample(self, rows: pd.DataFrame, resamples: int, seed: int) -> np.ndarray:
        """Return the mean effects over resamples of the images: (resamples, rows).

        Each resample draws as many images as there are, with replacement; all connections share them.

        Args:
            rows: connections of the table, in any order.
        """
        columns = self.connections.get_indexer(pd.MultiIndex.from_frame(rows[PLACE]))
        number = len(self.values)
        times = np.random.default_rng((seed, 1)).multinomial(number, np.full(number, 1 / number), resamples)
        means: np.ndarray = times @ self.values[:, columns].astype(float) / number
        return means

    def __deepcopy__(self, memo: dict[int, Any]) -> ImageEffects:
        """Return the same object: pandas copies ``attrs`` deeply at every step, and this never changes."""
        return self


def image_effects(table: pd.DataFrame, values: np.ndarray) -> ImageEffects:
    """Return the effects on images of a table's connections; ``values`` (images, rows of the table)."""
    return ImageEffects(pd.MultiIndex.from_frame(table[PLACE]), values.astype(np.float32))
