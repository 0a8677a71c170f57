"""Operators with hand-written backward passes for STC, TSM and GST video networks."""

from importlib.util import find_spec

if find_spec("stc_ops._C") is None:
    raise ImportError(
        f"stc_ops was imported from {__path__[0]}, which has no compiled extension: "
        "install it with 'pip install .' and run from another folder, or with 'pip install -e .'"
    )

from . import cost, models, nn
from .backends import available_backends, use_backend
from .config import __version__, show_config
from .memory import keep_freed_memory
from .models import optimize_for_inference
from .operators import (
    BatchNorm,
    bn_add_relu,
    bn_relu,
    bn_relu_shift,
    bn_relu_shift_split,
    refine_bn_relu,
    spatial_gate,
    spatial_pool,
    temporal_gate,
    temporal_pool,
    temporal_shift,
)
from .operators.recomputation import recompute_in_backward

__all__ = [
    "BatchNorm",
    "__version__",
    "available_backends",
    "bn_add_relu",
    "bn_relu",
    "bn_relu_shift",
    "bn_relu_shift_split",
    "cost",
    "keep_freed_memory",
    "models",
    "nn",
    "optimize_for_inference",
    "recompute_in_backward",
    "refine_bn_relu",
    "show_config",
    "spatial_gate",
    "spatial_pool",
    "temporal_gate",
    "temporal_pool",
    "temporal_shift",
    "use_backend",
]
