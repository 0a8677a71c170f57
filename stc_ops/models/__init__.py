"""Video networks: torchvision's ResNet over folded frames, with the middle layer of your choice."""

from .bottleneck import Bottleneck
from .builders import (
    stc_light_resnet50,
    stc_resnet50,
    tsm_resnet50,
    tsn_resnet50,
    video_resnet,
)
from .catalog import NETWORKS, Network
from .inference import optimize_for_inference
from .resnet import EntryLayer, MiddleLayer, VideoResNet
from .weights import LoadedWeights, load_imagenet_weights

__all__ = [
    "NETWORKS",
    "Bottleneck",
    "EntryLayer",
    "LoadedWeights",
    "MiddleLayer",
    "Network",
    "VideoResNet",
    "load_imagenet_weights",
    "optimize_for_inference",
    "stc_light_resnet50",
    "stc_resnet50",
    "tsm_resnet50",
    "tsn_resnet50",
    "video_resnet",
]
