from .checkpoints.checkpoint import Checkpoint, checkpoint_from_state_dict, load_checkpoint, save_checkpoint
from .checkpoints.pretrained import load_pretrained
from .checkpoints.zoo import load_zoo, zoo_names
from .data.datasets import load_test_images
from .data.images import images_from_arrays
from .errors import CheckpointError, DataError, RunError
from .networks.build import create_model
from .networks.densenet import DenseNet
from .networks.densenet_spec import DenseNetSpec
from .networks.fused import fuse
from .networks.relatives.deeply_supervised_spec import DeeplySupervisedSpec
from .networks.relatives.fractalnet import SingleColumn
from .networks.relatives.fractalnet_spec import FractalNetSpec
from .networks.relatives.highway_spec import HighwaySpec
from .networks.resnet import ResNet
from .networks.resnet_spec import ResNetSpec

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
    "fuse",
    "images_from_arrays",
    "load_checkpoint",
    "load_pretrained",
    "load_test_images",
    "load_zoo",
    "save_checkpoint",
    "zoo_names",
]
