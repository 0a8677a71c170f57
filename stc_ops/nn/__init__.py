"""Layers over folded frames (N*T, C, H, W): they hold the parameters and call the operators."""

from .absorption import FusibleLayer
from .batch_norm import batch_norm_of
from .branches import SpatialBranch, TemporalBranch
from .frames_conv import P3D, FramesConv3d
from .fused import BNAddReLU, BNReLU, BNReLUShift, BNReLUShiftSplit, RefineBNReLU
from .gate_network import GateNetwork
from .gst import GST
from .pool import GlobalAvgPool
from .refinement import SpatialRefinement, TemporalRefinement
from .shift import TemporalShift
from .stc import STC
from .stm import STM
from .tam import TAM, AdaptiveTemporalConv2d
from .tea import TEA, MotionExcitation
from .temporal_conv import ChannelwiseTemporalConv2d, TemporalConv2d
from .tin import TIN

__all__ = [
    "GST",
    "P3D",
    "STC",
    "STM",
    "TAM",
    "TEA",
    "TIN",
    "AdaptiveTemporalConv2d",
    "BNAddReLU",
    "BNReLU",
    "BNReLUShift",
    "BNReLUShiftSplit",
    "ChannelwiseTemporalConv2d",
    "FramesConv3d",
    "FusibleLayer",
    "GateNetwork",
    "GlobalAvgPool",
    "MotionExcitation",
    "RefineBNReLU",
    "SpatialBranch",
    "SpatialRefinement",
    "TemporalBranch",
    "TemporalConv2d",
    "TemporalRefinement",
    "TemporalShift",
    "batch_norm_of",
]
