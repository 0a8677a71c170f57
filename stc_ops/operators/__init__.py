"""The operators: public functions over (N*T, C, H, W) frames, one module per family."""

from .batch_norm import BatchNorm
from .bn_add_relu import bn_add_relu
from .bn_relu_shift_split import bn_relu, bn_relu_shift, bn_relu_shift_split
from .gate import spatial_gate, temporal_gate
from .pool import spatial_pool, temporal_pool
from .refine_bn_relu import refine_bn_relu
from .shift import temporal_shift

__all__ = [
    "BatchNorm",
    "bn_add_relu",
    "bn_relu",
    "bn_relu_shift",
    "bn_relu_shift_split",
    "refine_bn_relu",
    "spatial_gate",
    "spatial_pool",
    "temporal_gate",
    "temporal_pool",
    "temporal_shift",
]
