"""Layers over folded frames (N*T, C, H, W): they hold the parameters and call the operators."""

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
from .temporal_conv import TemporalConv2d

__all__ = [
    "GST",
    "P3D",
    "STC",
    "BNAddReLU",
    "BNReLU",
    "BNReLUShift",
    "BNReLUShiftSplit",
    "FramesConv3d",
    "GateNetwork",
    "GlobalAvgPool",
    "RefineBNReLU",
    "SpatialBranch",
    "SpatialRefinement",
    "TemporalBranch",
    "TemporalConv2d",
    "TemporalRefinement",
    "TemporalShift",
    "batch_norm_of",
]
