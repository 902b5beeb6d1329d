"""The networks of DenseNet Lens, and everything that makes or reads their weights."""

from densenet_core.checkpoint import Checkpoint, checkpoint_from_state_dict, load_checkpoint, save_checkpoint
from densenet_core.densenet import DenseNet
from densenet_core.errors import CheckpointError, DataError, RunError
from densenet_core.models import create_model
from densenet_core.pretrained import load_pretrained
from densenet_core.relatives.deeply_supervised import DeeplySupervisedSpec
from densenet_core.relatives.fractalnet import FractalNetSpec, SingleColumn
from densenet_core.relatives.highway import HighwaySpec
from densenet_core.resnet import ResNet
from densenet_core.resnet_spec import ResNetSpec
from densenet_core.spec import DenseNetSpec
from densenet_core.zoo import load_zoo, zoo_names

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "DataError",
    "DeeplySupervisedSpec",
    "DenseNet",
    "DenseNetSpec",
    "FractalNetSpec",
    "HighwaySpec",
    "ResNet",
    "ResNetSpec",
    "RunError",
    "SingleColumn",
    "checkpoint_from_state_dict",
    "create_model",
    "load_checkpoint",
    "load_pretrained",
    "load_zoo",
    "save_checkpoint",
    "zoo_names",
]
