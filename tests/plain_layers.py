"""STC, its variants and its parts in plain PyTorch, written from the paper's equations."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from comparisons import EXACT, assert_close
from torch import nn

T = 4

STC_VARIANTS = {
    "paper": {},
    "alpha-0": {"alpha": 0},
    "alpha-1/4": {"alpha": Fraction(1, 4)},
    "alpha-1/2": {"alpha": 0.5},
    "alpha-15/16": {"alpha": Fraction(15, 16)},
    "alpha-1": {"alpha": 1.0},
    "stride-2": {"stride": 2},
    "stride-2-equal": {"stride": 2, "equal_split": True},
    "equal": {"equal_split": True},
    "light": {"reduction": 4},
    "light-equal": {"reduction": 2, "equal_split": True},
    "non-shift": {"shift": False},
    "shift-quarter": {"shift_div": 4},
    "tr-only": {"spatial_refinement": False},
    "sr-only": {"temporal_refinement": False},
    "sim": {"shift": False, "temporal_refinement": False, "spatial_refinement": False},
    "sim-stride-2": {
        "stride": 2,
        "shift": False,
        "temporal_refinement": False,
        "spatial_refinement": False,
    },
}
every_variant = pytest.mark.parametrize("variant", STC_VARIANTS.values(), ids=STC_VARIANTS.keys())


def random_frames(
    batch=2, channels=16, size=(6, 5), dtype=torch.float64, memory_format=torch.contiguous_format
):
    frames = torch.randn(batch * T, channels, *size, dtype=dtype)
    return frames.contiguous(memory_format=memory_format)


def randomize_norms(module):
    """Move all normalizations of `module` away from their initial values."""
    for norm in module.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(norm.running_mean, std=0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)


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
    assert_equal_with_gradients(module(frames), plain(frames), inputs, inputs)


def assert_equal_with_gradients(out, expected, inputs, expected_inputs):
    """Assert that `out` and its gradients to `inputs` equal the expected, in float64."""
    assert_close(out, expected, EXACT)
    grad = torch.randn_like(expected)
    for got, want in zip(
        torch.autograd.grad(out, inputs, grad),
        torch.autograd.grad(expected, expected_inputs, grad),
        strict=True,
    ):
        assert_close(got, want, EXACT, "gradient")
