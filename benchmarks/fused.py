"""The fused operators and what each of their passes moves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from matrix import Family, Inputs, Operator, Outputs, Setting, Traffic, every_stage

import stc_ops

# A block's result has four times the channels of its middle layer (ResNet-50).
EXPANSION = 4

# What each pass reads and writes, in units of the operator's frames. Statistics of a batch, and the
# means that gate networks look at, need a pass of their own before any result can be written, and
# so do the sums of a batch norm's backward. Tensors smaller than frames are not counted.
PASSES: dict[str, dict[str, list[tuple[int, int]]]] = {
    "bn_relu_shift_split": {
        # u; written: spatial and temporal, together u's size
        "eval": [(1, 1)],
        "forward": [(1, 0), (1, 1)],
        # u, and the gradients of spatial and temporal; written: du
        "backward": [(2, 0), (2, 1)],
    },
    "refine_bn_relu": {
        # spatial_y and temporal_y, together out's size; written: out
        "eval": [(1, 0), (1, 1)],
        "forward": [(1, 0), (1, 1)],
        # both y, dout; written: both dy
        "backward": [(2, 0), (2, 1)],
    },
    "bn_add_relu": {
        # w, and then identity; written: out
        "eval": [(2, 1)],
        "forward": [(1, 0), (2, 1)],
        # w, out, dout; written: didentity; and then w, didentity; written: dw
        "backward": [(3, 1), (2, 1)],
    },
    "bn_add_relu_identity_bn": {
        # w, identity; written: out
        "eval": [(2, 1)],
        "forward": [(2, 0), (2, 1)],
        # w, identity, out, dout; written: dw, didentity
        "backward": [(4, 0), (4, 2)],
    },
}


def _traffic(
    passes: dict[str, list[tuple[int, int]]], expansion: int, setting: Setting
) -> dict[str, list[Traffic]]:
    frames = expansion * setting.frames_bytes()
    return {
        direction: [Traffic(read * frames, written * frames) for read, written in each]
        for direction, each in passes.items()
    }


def _branch_channels(channels: int) -> tuple[int, int]:
    """Return the paper's split, alpha = 3/4."""
    return 3 * channels // 4, channels // 4


def _parameters(channels: int) -> list[torch.Tensor]:
    return [torch.rand(channels) + 0.5, torch.randn(channels)]


def _statistics(channels: int) -> list[torch.Tensor]:
    return [0.1 * torch.randn(channels), torch.rand(channels) + 0.5]


def _batch_norms(tensors: Sequence[torch.Tensor], training: bool) -> list[stc_ops.BatchNorm]:
    """Return the norms of (weight, bias) of each of them, then (mean, var) of each of them."""
    half = len(tensors) // 2
    return [
        stc_ops.BatchNorm(*tensors[i : i + 2], *tensors[half + i : half + i + 2], training)
        for i in range(0, half, 2)
    ]


def _shift_split_inputs(setting: Setting) -> Inputs:
    channels = setting.channels
    return Inputs([setting.random_frames(), *_parameters(channels)], _statistics(channels))


def _shift_split(library, setting: Setting, training: bool, u, *bn) -> Outputs:
    split = _branch_channels(setting.channels)
    return library.bn_relu_shift_split(u, *_batch_norms(bn, training), split, setting.num_segments)


def _refine_inputs(setting: Setting) -> Inputs:
    spatial, temporal = _branch_channels(setting.channels)
    # Scaled so that logits are of size one: means over K values are of size 1/sqrt(K).
    temporal_gates = torch.randn(spatial, spatial, 3) * setting.height / (3 * spatial) ** 0.5
    spatial_gates = torch.randn(temporal, temporal, 3, 3)
    spatial_gates *= (setting.num_segments / (9 * temporal)) ** 0.5
    frames = [setting.random_frames(spatial), setting.random_frames(temporal)]
    parameters = _parameters(setting.channels)
    return Inputs(
        [*frames, temporal_gates, spatial_gates, *parameters], _statistics(setting.channels)
    )


def _refine(
    library, setting: Setting, training: bool, spatial_y, temporal_y, *gates_and_bn
) -> Outputs:
    temporal_gates, spatial_gates, *bn = gates_and_bn
    return library.refine_bn_relu(
        spatial_y,
        temporal_y,
        *_batch_norms(bn, training),
        setting.num_segments,
        (temporal_gates,),
        (spatial_gates,),
    )


def _add_inputs(norms: int, setting: Setting) -> Inputs:
    channels = EXPANSION * setting.channels
    frames = [setting.random_frames(channels), setting.random_frames(channels)]
    parameters = [each for _ in range(norms) for each in _parameters(channels)]
    statistics = [each for _ in range(norms) for each in _statistics(channels)]
    return Inputs([*frames, *parameters], statistics)


def _add(library, setting: Setting, training: bool, w, identity, *norms) -> Outputs:
    bn, *identity_bn = _batch_norms(norms, training)
    return library.bn_add_relu(w, bn, identity, *identity_bn)


OPERATORS = {
    name: Operator(run, inputs, partial(_traffic, PASSES[name], expansion))
    for name, run, inputs, expansion in (
        ("bn_relu_shift_split", _shift_split, _shift_split_inputs, 1),
        ("refine_bn_relu", _refine, _refine_inputs, 1),
        ("bn_add_relu", _add, partial(_add_inputs, 1), EXPANSION),
        ("bn_add_relu_identity_bn", _add, partial(_add_inputs, 2), EXPANSION),
    )
}


def _settings() -> list[Setting]:
    """Return every stage in float32 at N = 1 and 8 and in bfloat16 at N = 8, all at T = 8."""
    return [
        setting
        for memory_format in ("nhwc", "nchw")
        for dtype, clips in (("float32", (1, 8)), ("bfloat16", (8,)))
        for setting in every_stage(memory_format, dtype, [(each, 8) for each in clips])
    ]


FUSED = Family(
    name="fused",
    operators=OPERATORS,
    modes=("eval-forward", "training-forward", "training-backward", "training-both"),
    settings=_settings(),
    has_relu=True,
)
