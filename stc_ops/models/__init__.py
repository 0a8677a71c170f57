"""Video networks: torchvision's ResNet over folded frames, with the middle layer of your choice."""

from .bottleneck import Bottleneck
from .builders import (
    c3d_resnet50,
    gst_large_resnet50,
    gst_resnet50,
    p3d_resnet50,
    stc_light_resnet50,
    stc_resnet50,
    tsm_resnet50,
    tsn_resnet50,
    video_resnet,
)
from .catalog import NETWORKS, Network
from .i3d import i3d_resnet50
from .inference import optimize_for_inference
from .relatives import stm_resnet50, tam_resnet50, tea_resnet50, tin_resnet50
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
    "c3d_resnet50",
    "gst_large_resnet50",
    "gst_resnet50",
    "i3d_resnet50",
    "load_imagenet_weights",
    "optimize_for_inference",
    "p3d_resnet50",
    "stc_light_resnet50",
    "stc_resnet50",
    "stm_resnet50",
    "tam_resnet50",
    "tea_resnet50",
    "tin_resnet50",
    "tsm_resnet50",
    "tsn_resnet50",
    "video_resnet",
]
