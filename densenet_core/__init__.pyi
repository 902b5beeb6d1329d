from .checkpoint import Checkpoint, checkpoint_from_state_dict, load_checkpoint, save_checkpoint
from .densenet import DenseNet
from .errors import CheckpointError, DataError, RunError
from .models import create_model
from .pretrained import load_pretrained
from .relatives.deeply_supervised_spec import DeeplySupervisedSpec
from .relatives.fractalnet import SingleColumn
from .relatives.fractalnet_spec import FractalNetSpec
from .relatives.highway_spec import HighwaySpec
from .resnet import ResNet
from .resnet_spec import ResNetSpec
from .spec import DenseNetSpec
from .zoo import load_zoo, zoo_names

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
