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
    return primitives | step_calls(clips, memory_format)


def step_calls(clips, memory_format):
    """Return the arguments of the steps of the fused operators."""
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
    return {
        "spatial_moments": (u,),
        "temporal_moments": (u, segments),
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


STEPS = sorted(step_calls(_Tiny, torch.contiguous_format))
