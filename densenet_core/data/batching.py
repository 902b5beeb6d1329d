"""Split an epoch into batches, and each batch over the processes that train together."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Shard:
    """The part of every batch that this process takes (data parallelism)."""

    rank: int = 0
    world_size: int = 1

    def of(self, rows: Tensor) -> Tensor:
        """Return this process's rows of a batch; the sizes of the parts differ by at most one."""
        return rows.tensor_split(self.world_size)[self.rank]


def batch_sizes(num_images: int, batch_size: int, shard: Shard | None = None) -> list[int]:
    """Return the number of images in each batch of an epoch, over all processes.

    With a ``shard``, for training, the last batch joins the one before where a process would get fewer than two of its
    images: batch normalization needs two.
    """
    full, rest = divmod(num_images, batch_size)
    sizes = [batch_size] * full + [rest] * (rest > 0)
    if shard is not None and full and 0 < rest < 2 * shard.world_size:
        sizes[-2:] = [batch_size + rest]
    return sizes


def batches_of(order: Tensor, batch_size: int, shard: Shard | None = None) -> tuple[Tensor, ...]:
    """Split ``order`` (N,) into the rows of each batch; ``shard`` as in ``batch_sizes``."""
    return tuple(order.split(batch_sizes(len(order), batch_size, shard)))
