"""How an epoch's images are dealt out: in batches, and each batch to the processes that train together."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Shard:
    """This process among those that share every batch (data parallelism)."""

    rank: int = 0
    world_size: int = 1

    def of(self, rows: Tensor) -> Tensor:
        """This process's part of a batch; parts differ by one row at most, and together they are the batch."""
        return rows.tensor_split(self.world_size)[self.rank]


def batch_sizes(num_images: int, batch_size: int, shard: Shard | None = None) -> list[int]:
    """Images in each whole batch of an epoch.

    With a ``shard``, for training, the last batch joins the one before where a process would get fewer than two of its
    images: batch normalisation needs two.
    """
    full, rest = divmod(num_images, batch_size)
    sizes = [batch_size] * full + [rest] * (rest > 0)
    if shard is not None and full and 0 < rest < 2 * shard.world_size:
        sizes[-2:] = [batch_size + rest]
    return sizes


def batches_of(order: Tensor, batch_size: int, shard: Shard | None = None) -> tuple[Tensor, ...]:
    """The rows of each whole batch, in their ``order`` (N,); ``shard`` as in ``batch_sizes``."""
    return tuple(order.split(batch_sizes(len(order), batch_size, shard)))
