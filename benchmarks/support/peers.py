"""Networks of torchvision that do the same work as ours, and the runtimes that can run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet

from densenet_core import DenseNetSpec
from densenet_core.checkpoints.onnx_export import OnnxModel


def torchvision_densenet(spec: DenseNetSpec, memory_efficient: bool = False) -> nn.Module:
    """Return a DenseNet-BC of torchvision's, with the stem for small images; its parameters have our names."""
    model = DenseNet(
        spec.growth_rate,
        spec.block_config,
        spec.num_init_features,
        num_classes=spec.num_classes,
        memory_efficient=memory_efficient,
    )
    for part in ("norm0", "relu0", "pool0"):
        setattr(model.features, part, nn.Identity())
    model.features.conv0 = nn.Conv2d(spec.in_channels, spec.num_init_features, 3, padding=1, bias=False)
    return model


def onnxruntime_network(file: Path) -> Callable[[Tensor], Tensor]:
    """Open the network of an ONNX file in ONNX Runtime."""
    return OnnxModel(file.read_bytes())


def openvino_network(file: Path) -> Callable[[Tensor], Tensor]:
    """Open the network of an ONNX file in OpenVINO, in float32, tuned for the latency of one batch."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.compile_model(openvino.Core().read_model(file), "CPU", options)
    return lambda batch: torch.from_numpy(compiled(batch.numpy())[0])


RUNTIMES = {"onnxruntime": onnxruntime_network, "openvino": openvino_network}
