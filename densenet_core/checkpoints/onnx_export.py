"""Export networks as ONNX (extra ``onnx``), checked by running the file with onnxruntime."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch

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
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (torch.onnx needs it)
    except ImportError as error:
        raise RunError(f"{error.name} is not installed: pip install 'densenet-lens[onnx]'") from error
    spec, model = checkpoint.architecture, checkpoint.to_model()
    images = torch.randn(
        4, spec.in_channels, *(input_size,) * spec.spatial_dims, generator=torch.Generator().manual_seed(0)
    )
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "network.onnx"
        batch = {0: torch.export.Dim("batch")}
        torch.onnx.export(
            model,
            (images,),
            written,
            input_names=["images"],
            output_names=["scores"],
            dynamo=True,
            external_data=False,
            dynamic_shapes=(batch,),
            verbose=False,
        )
        session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
        (scores,) = session.run(None, {"images": images.numpy()})
        with torch.inference_mode():
            expected = model(images).numpy()
        difference = float(np.abs(scores - expected).max())
        if difference > TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise RunError(f"onnxruntime's scores differ by {difference:.2g} from PyTorch's: the file was not written")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(written.read_bytes())
    return difference
