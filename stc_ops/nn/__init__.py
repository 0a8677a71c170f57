"""Layers over folded frames (N*T, C, H, W): they hold the parameters and call the operators."""

from .branches import SpatialBranch, TemporalBranch
from .gate_network import GateNetwork
from .pool import GlobalAvgPool
from .refinement import SpatialRefinement, TemporalRefinement
from .shift import TemporalShift
from .stc import STC
from .temporal_conv import TemporalConv2d

__all__ = [
    "STC",
    "GateNetwork",
    "GlobalAvgPool",
    "SpatialBranch",
    "SpatialRefinement",
    "TemporalBranch",
    "TemporalConv2d",
    "TemporalRefinement",
    "TemporalShift",
]
