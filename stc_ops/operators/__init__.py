"""The operators: public functions over (N*T, C, H, W) frames, one module per family."""

from .gate import spatial_gate, temporal_gate
from .pool import spatial_pool, temporal_pool
from .shift import temporal_shift

__all__ = ["spatial_gate", "spatial_pool", "temporal_gate", "temporal_pool", "temporal_shift"]
