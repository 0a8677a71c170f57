"""Fused operators with hand-written backward passes for STC, TSM and GST video networks."""

from . import cost, models, nn
from .backends import available_backends, use_backend
from .config import show_config
from .operators import (
    spatial_gate,
    spatial_pool,
    temporal_gate,
    temporal_pool,
    temporal_shift,
)

__all__ = [
    "available_backends",
    "cost",
    "models",
    "nn",
    "show_config",
    "spatial_gate",
    "spatial_pool",
    "temporal_gate",
    "temporal_pool",
    "temporal_shift",
    "use_backend",
]
