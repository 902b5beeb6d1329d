"""Write the metrics of a training as TensorBoard events (the extra ``tensorboard``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from densenet_core.errors import RunError
from densenet_core.networks.network import Network
from densenet_core.training.runs.files import TENSORBOARD, Metric

_TAGS = ("loss", "error", "learning_rate", "grad_norm", "images_per_s", "wait_share")


class TensorBoardLog:
    """Write each epoch's metrics as scalars to ``<run>/tensorboard``, with tags such as ``loss/train``.

    Pass it to ``train`` as ``on_epoch``. The step is the epoch (1-based); a resumed run replaces repeated epochs.

    Raises:
        RunError: the package tensorboard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RunError(
                "tensorboard is not installed: pip install 'densenet-lens[tensorboard]', or omit --tensorboard"
            ) from error
        self._writer_class: Any = SummaryWriter
        self._writer: Any = None

    def __call__(self, folder: Path, model: Network, metrics: list[Metric]) -> None:
        epoch = metrics[-1].epoch
        if self._writer is None:
            self._writer = self._writer_class(str(folder / TENSORBOARD), purge_step=epoch)
        for metric in (metric for metric in metrics if metric.epoch == epoch):
            for tag in _TAGS:
                if (value := getattr(metric, tag)) is not None:
                    self._writer.add_scalar(f"{tag}/{metric.split}", value, epoch)
        self._writer.flush()
