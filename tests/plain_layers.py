"""STC and its parts in plain PyTorch, written from the paper's equations."""

from __future__ import annotations

from fractions import Fraction

import torch
import torch.nn.functional as F

T = 4


def clips_of(frames):
    """(N*T, C, H, W) to (N, C, T, H, W)."""
    return frames.reshape(-1, T, *frames.shape[1:]).transpose(1, 2)


def frames_of(clips):
    return clips.transpose(1, 2).flatten(0, 1)


def plain_shift(clips, shift_div):
    fold = clips.shape[1] // shift_div
    planes = []
    for channel in range(clips.shape[1]):
        for t in range(T):
            source = t + 1 if channel < fold else t - 1 if channel < 2 * fold else t
            inside = 0 <= source < T
            plane = clips[:, channel, source] if inside else torch.zeros_like(clips[:, channel, 0])
            planes.append(plane)
    return torch.stack(planes, 1).unflatten(1, clips.shape[1:3])


def plain_gate_logits(context, weights):
    """Logits of (N, C, T, H, W) context with 3-D kernels; `weights` end in the gate's kernel."""
    *reduce, gate = weights
    for kernel in reduce:
        context = F.relu(F.conv3d(context, kernel))
    return F.conv3d(context, gate, padding=tuple(size // 2 for size in gate.shape[2:]))


def plain_temporal_refinement(clips, weights):
    kernels = [kernel[..., None, None] for kernel in weights]
    return clips * plain_gate_logits(clips.mean((3, 4), keepdim=True), kernels).sigmoid()


def plain_spatial_refinement(clips, weights):
    kernels = [kernel[:, :, None] for kernel in weights]
    return clips * plain_gate_logits(clips.mean(2, keepdim=True), kernels).sigmoid()


def plain_spatial_branch(clips, weights, stride, shift_div):
    if shift_div is not None:
        clips = plain_shift(clips, shift_div)
    conv, *gate = weights
    y = F.conv3d(clips, conv[:, :, None], stride=(1, stride, stride), padding=(0, 1, 1))
    return plain_temporal_refinement(y, gate) if gate else y


def plain_temporal_branch(clips, weights, stride):
    conv, *gate = weights
    y = F.conv3d(clips, conv[..., None], stride=(1, stride, stride), padding=(1, 0, 0))
    return plain_spatial_refinement(y, gate) if gate else y


def plain_stc(module, frames, variant):
    """STC of `frames` with the weights of `module`, for the arguments `variant` of the module."""
    clips = clips_of(frames)
    stride = variant.get("stride", 1)
    channels = clips.shape[1]
    spatial = int(channels * variant.get("alpha", Fraction(3, 4)))
    cut = channels // 2 if variant.get("equal_split") else spatial
    shift_div = variant.get("shift_div", 8) if variant.get("shift", True) else None
    branches = []
    if spatial > 0:
        weights = list(module.spatial.parameters())
        branches.append(plain_spatial_branch(clips[:, :cut], weights, stride, shift_div))
    if spatial < channels:
        weights = list(module.temporal.parameters())
        branches.append(plain_temporal_branch(clips[:, cut:], weights, stride))
    return frames_of(torch.cat(branches, 1))


def assert_same_with_gradients(module, plain, frames):
    """Assert that outputs, and the gradients of frames and parameters, equal those of `plain`."""
    inputs = [frames.requires_grad_(), *module.parameters()]
    out, expected = module(frames), plain(frames)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    grad = torch.randn_like(expected)
    for got, want in zip(
        torch.autograd.grad(out, inputs, grad),
        torch.autograd.grad(expected, inputs, grad),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
