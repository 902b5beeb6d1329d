"""Export networks as ONNX, and run them with onnxruntime (extra ``onnx``)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densenet_core.checkpoints.checkpoint import Checkpoint
from densenet_core.errors import RunError

TOLERANCE = 1e-4  # of the scores, relative to the largest


def export_onnx(checkpoint: Checkpoint, path: str | os.PathLike[str], input_size: int) -> float:
    """Export the network as ONNX with a variable batch size, and return the largest difference of its scores.

    The scores of four random images are computed with onnxruntime and PyTorch and compared before the file is written.

    Raises:
        RunError: the packages are not installed, the file can't be written, or the scores differ by more than 1e-4,
            relative to the largest.
        ValueError: the file name does not end in .onnx.
    """
    file = Path(path)
    if file.suffix != ".onnx":
        raise ValueError(f"ONNX file {file.name!r} does not end in .onnx")
    spec, model = checkpoint.architecture, checkpoint.to_model()
    images = torch.randn(
        4, spec.in_channels, *(input_size,) * spec.spatial_dims, generator=torch.Generator().manual_seed(0)
    )
    content = to_onnx(model, images)
    with torch.inference_mode():
        expected, scores = model(images), OnnxModel(content)(images)
    difference = float((scores - expected).abs().max())
    if difference > TOLERANCE * max(1.0, float(expected.abs().max())):
        raise RunError(f"onnxruntime's scores differ by {difference:.2g} from PyTorch's: the file was not written")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return difference


def onnx_model(checkpoint: Checkpoint, input_size: int) -> OnnxModel:
    """Return the network as a module that onnxruntime runs on the CPU, for images of ``input_size`` pixels a side.

    Raises:
        RunError: the packages are not installed.
    """
    spec, model = checkpoint.architecture, checkpoint.to_model()
    return OnnxModel(to_onnx(model, torch.zeros(2, spec.in_channels, *(input_size,) * spec.spatial_dims)))


class OnnxModel(nn.Module):
    """An ONNX network as a module: (N, C, H, W) float32 -> (N, classes). It has no weights to train or to move.

    Args:
        content: of an ONNX file with the input ``images``.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        onnxruntime, options = _onnxruntime(), _onnxruntime().SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.register_buffer("place", torch.empty(0), persistent=False)  # shows whether this module is on the CPU

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores."""
        (scores,) = self._session.run(None, {"images": images.cpu().contiguous().numpy()})
        return torch.from_numpy(scores)


def to_onnx(model: nn.Module, images: Tensor) -> bytes:
    """Return the network as an ONNX file with a variable batch size; ``images`` are an example of its input.

    Raises:
        RunError: the packages are not installed.
    """
    _onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "network.onnx"
        torch.onnx.export(
            model,
            (images,),
            written,
            input_names=["images"],
            output_names=["scores"],
            dynamo=True,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        return written.read_bytes()


def _onnxruntime() -> Any:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (torch.onnx needs it)
    except ImportError as error:
        raise RunError(f"{error.name} is not installed: pip install 'densenet-lens[onnx]'") from error
    return onnxruntime
