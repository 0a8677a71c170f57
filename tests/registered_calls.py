"""Every registered operator, forward and backward, with arguments that fit."""

from __future__ import annotations

import torch


def registered_calls(clips, memory_format):
    """Return the arguments by the names of the operators."""
    frames = torch.randn(clips.frames).contiguous(memory_format=memory_format)
    clip_shape = (clips.batch, *clips.frames[1:])
    clip_frames = torch.randn(clip_shape).contiguous(memory_format=memory_format)
    pooled = torch.randn(clips.frames[:2])
    segments = clips.num_segments
    primitives = {
        "temporal_shift": (frames, segments, 8),
        "temporal_shift_backward": (frames, segments, 8),
        "spatial_pool": (frames,),
        "spatial_pool_backward": (pooled, clips.height, clips.width, frames.dtype, memory_format),
        "temporal_pool": (frames, segments),
        "temporal_pool_backward": (clip_frames, segments, frames.dtype, memory_format),
        "temporal_gate": (frames, pooled),
        "temporal_gate_backward": (frames.clone(), frames, pooled),
        "spatial_gate": (frames, clip_frames, segments),
        "spatial_gate_backward": (frames.clone(), frames, clip_frames, segments),
    }
    return primitives | piece_calls(clips, memory_format) | fused_calls(clips, memory_format)


def fused_calls(clips, memory_format):
    """Return the arguments of the fused operators, which have no derivatives of their own."""
    segments, channels = clips.num_segments, clips.channels
    spatial = channels // 2
    temporal = channels - spatial

    def frames_of(channels, height=clips.height, width=clips.width, frames=clips.frames[0]):
        shape = (frames, channels, height, width)
        return torch.randn(shape).contiguous(memory_format=memory_format)

    def running():
        return torch.randn(channels), torch.rand(channels)

    def trained(*training):
        return *parameters, *running(), torch.tensor(3), *training, 0.1, 1e-5

    parameters = (torch.randn(channels), torch.randn(channels))
    evaluated = (*parameters, *running(), 1e-5)
    split = (segments, spatial, spatial // 8, 2)
    results = frames_of(spatial), frames_of(temporal, -(-clips.height // 2), -(-clips.width // 2))
    u, w, identity, out = (frames_of(channels) for _ in range(4))
    coefficients = torch.rand(4, channels)
    branches = frames_of(spatial) if spatial else None, frames_of(temporal)
    light = (torch.randn(5, spatial, 1), torch.randn(spatial, 5, 3)) if spatial else (None, None)
    gate_weights = (*light, None, torch.randn(temporal, temporal, 3, 3))
    none = torch.empty(0)
    of_frames = (none,) * 4
    if spatial:
        of_frame = (clips.frames[0], spatial)
        of_frames = (*(torch.rand(of_frame) for _ in range(3)), torch.rand(clips.frames[0], 5))
    of_pixels = (*(frames_of(temporal, frames=clips.batch).sigmoid() for _ in range(3)), none)
    kept = (coefficients, *of_frames, *of_pixels)
    return {
        "bn_relu_shift_split": (u, *evaluated, *split),
        "bn_relu_shift_split_training": (u, *trained(), *split),
        "bn_relu_shift_split_backward": (*results, u, coefficients, True, *split),
        "bn_add_relu": (w, identity, *evaluated, *evaluated),
        "bn_add_relu_training": (w, identity, *trained(True), *trained(True)),
        "bn_add_relu_backward": (u, out, w, None, coefficients, None, True, False),
        "refine_bn_relu": (*branches, *evaluated, *gate_weights, segments),
        "refine_bn_relu_training": (*branches, *trained(), *gate_weights, segments),
        "refine_bn_relu_backward": (out, *branches, *kept, *gate_weights, True, segments),
    }


def piece_calls(clips, memory_format):
    """Return the arguments of the pieces of the fused operators."""
    segments, channels = clips.num_segments, clips.channels

    def frames_of(channels, height=clips.height, width=clips.width, frames=clips.frames[0]):
        shape = (frames, channels, height, width)
        return torch.randn(shape).contiguous(memory_format=memory_format)

    spatial = channels // 2
    temporal = channels - spatial
    grid = (-(-clips.height // 2), -(-clips.width // 2))
    u, w, out = (frames_of(channels) for _ in range(3))
    branches = frames_of(spatial) if spatial else None, frames_of(temporal)
    of_frames = torch.rand(clips.frames[0], spatial) if spatial else None
    of_pixels = frames_of(temporal, frames=clips.batch).sigmoid()
    pixel_sums = frames_of(temporal, frames=2 * clips.batch)
    gates, means = (of_frames, of_pixels), (of_frames, of_pixels)
    coefficients, grad_coefficients = torch.rand(4, channels), torch.randn(2, channels)
    split = (segments, spatial, spatial // 8, 2)
    results = (frames_of(spatial), frames_of(temporal, *grid))
    light = (torch.randn(5, temporal, 1, 1), torch.randn(temporal, 5, 3, 3))
    return {
        "spatial_moments": (u,),
        "temporal_moments": (u, segments),
        "gate_network": (of_pixels, *light, 0),
        "gate_network_backward": (
            of_pixels.clone(),
            of_pixels,
            frames_of(5, frames=clips.batch),
            *light,
            0,
        ),
        "gated_channel_moments": (of_pixels, of_pixels.square(), of_pixels.log(), segments),
        "batch_norm_coefficients": (torch.rand(2, channels), torch.rand(channels), None, 1e-5),
        "batch_norm_grad_coefficients": (grad_coefficients, coefficients),
        "gated_channel_sums": (pixel_sums, of_pixels, of_pixels, coefficients, spatial),
        "gate_gradient": (
            pixel_sums,
            of_pixels,
            of_pixels,
            None,
            coefficients,
            grad_coefficients,
            spatial,
            segments,
        ),
        "shift_split": (u, coefficients, *split),
        "shift_split_backward_sums": (*results, u, coefficients, *split),
        "shift_split_backward": (*results, u, coefficients, grad_coefficients, *split),
        "refine": (*branches, *gates, coefficients, segments),
        "refine_backward_sums": (out, *branches, *gates, *means, coefficients, segments),
        "refine_backward": (
            out,
            *branches,
            *gates,
            *means,
            coefficients,
            grad_coefficients,
            segments,
        ),
        "add_relu": (w, u, coefficients, coefficients),
        "add_relu_backward_sums": (u, out, w, None, coefficients, None),
        "add_relu_backward": (
            u,
            out,
            w,
            w,
            coefficients,
            coefficients,
            grad_coefficients,
            grad_coefficients,
        ),
    }


class _Tiny:
    batch, num_segments, channels, height, width = 1, 1, 2, 1, 1
    frames = (1, 2, 1, 1)


# What has no derivative: it is called where nothing is recorded.
UNRECORDED = sorted(
    fused_calls(_Tiny, torch.contiguous_format) | piece_calls(_Tiny, torch.contiguous_format)
)
