"""Offsets beyond 2^31, on frames of 4.3 GB that are zero but for their last pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cases import GATES, OPERATORS, Clips, every_format

from stc_ops.operators.registration import compiled

LARGE = Clips(1, 8, 16, 4097, 4097)
LAST = (-1, slice(None), -1, slice(-3, None))


def free_memory():
    """Bytes that a test may take: what the machine has, and what the container allows."""
    limits = []
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            limits.append(int(line.split()[1]) * 1024)
    maximum, current = (Path("/sys/fs/cgroup") / f"memory.{n}" for n in ("max", "current"))
    if maximum.exists() and maximum.read_text().strip() != "max":
        limits.append(int(maximum.read_text()) - int(current.read_text()))
    return min(limits)


@pytest.fixture
def large_frames():
    """Return a function that makes bfloat16 frames which are zero but for their last pixels."""
    if not Path("/proc/meminfo").exists():
        pytest.skip("this system does not tell how much memory is free")
    needed = 9 * torch.Size(LARGE.frames).numel()
    if (free := free_memory()) < needed:
        pytest.skip(f"needs {needed / 2**30:.0f} GiB of free memory, there are {free / 2**30:.0f}")
    torch.use_deterministic_algorithms(False)  # filling with NaN takes longer than the kernels

    def make(memory_format, channels=LARGE.channels):
        shape = (LARGE.frames[0], channels, *LARGE.frames[2:])
        frames = torch.empty(shape, dtype=torch.bfloat16, memory_format=memory_format)
        frames.zero_()[LAST] = torch.randn(channels, 3).bfloat16()
        return frames

    return make


def large_logits(case, memory_format):
    shape = case.logits_shape(LARGE)
    layout = memory_format if len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, memory_format=layout).zero_()


@pytest.mark.large
@every_format
@pytest.mark.parametrize("name", ["temporal_shift", "spatial_pool", "temporal_pool", *GATES])
def test_offsets_beyond_32_bits(large_frames, name, memory_format):
    assert torch.Size(LARGE.frames).numel() > 2**31
    case, frames = OPERATORS[name], large_frames(memory_format)
    logits = [] if case.logits_shape is None else [large_logits(case, memory_format)]
    with torch.no_grad():
        out = case.run(LARGE, frames, *logits)
    exact = frames[LAST].double()
    if name == "temporal_shift":
        assert torch.equal(out[LAST][4:], frames[LAST][4:])
        assert torch.equal(out[-2, :2, -1, -3:], frames[LAST][:2])
    elif name == "spatial_pool":
        torch.testing.assert_close(out[-1].double(), exact.sum(-1) / 4097**2)
    elif name == "temporal_pool":
        torch.testing.assert_close(out[LAST].double(), exact / LARGE.num_segments)
    else:
        torch.testing.assert_close(out[LAST].double(), exact / 2)


@pytest.mark.large
@every_format
@pytest.mark.parametrize("name", ["temporal_shift", "spatial_pool", "temporal_pool", *GATES])
def test_backward_offsets_beyond_32_bits(large_frames, name, memory_format):
    backward = getattr(torch.ops.stc_ops, f"{name}_backward")
    segments, dtype = LARGE.num_segments, torch.bfloat16
    if name == "temporal_shift":
        grad = large_frames(memory_format)
        assert torch.equal(backward(grad, segments, 8)[LAST][4:], grad[LAST][4:])
    elif name == "spatial_pool":
        grad = torch.randn(LARGE.frames[:2]) * 4097**2
        out = backward(grad, 4097, 4097, dtype, memory_format)
        expected = (grad[-1] / 4097**2).bfloat16()[:, None].expand(-1, 3)
        torch.testing.assert_close(out[LAST], expected)
    elif name == "temporal_pool":
        grad = torch.empty(1, *LARGE.frames[1:], memory_format=memory_format).fill_(16.0)
        assert torch.equal(
            backward(grad, segments, dtype, memory_format)[LAST].unique(),
            torch.tensor([2.0], dtype=dtype),
        )
    else:
        frames = large_frames(memory_format)
        logits = large_logits(OPERATORS[name], memory_format)
        extra = [] if name == "temporal_gate" else [segments]
        grad_frames, grad_logits = backward(frames, frames, logits, *extra)
        squares = frames[LAST].double() ** 2
        torch.testing.assert_close(grad_frames[LAST].double(), frames[LAST].double() / 2)
        got = grad_logits[-1] if name == "temporal_gate" else grad_logits[LAST]
        torch.testing.assert_close(
            got.double(), squares.sum(-1) / 4 if name == "temporal_gate" else squares / 4
        )


def coefficients(channels=LARGE.channels):
    """Rows of scale 2, shift 0, mean 0 and 1 / standard deviation 1."""
    rows = torch.tensor([2.0, 0.0, 0.0, 1.0])
    return rows[:, None].repeat(1, channels)


def grad_coefficients(channels=LARGE.channels):
    """Rows of slope 1 and offset 0."""
    return torch.tensor([1.0, 0.0])[:, None].repeat(1, channels)


@pytest.mark.large
@every_format
def test_moments_beyond_32_bits(large_frames, memory_format):
    frames, pixels = large_frames(memory_format), 4097**2
    exact = frames[LAST].double()
    mean, m2 = compiled.spatial_moments(frames)
    torch.testing.assert_close(mean[-1].double(), exact.sum(-1) / pixels)
    torch.testing.assert_close(m2[-1].double(), exact.square().sum(-1), rtol=1e-5, atol=0)
    mean, m2 = compiled.temporal_moments(frames, LARGE.num_segments)
    torch.testing.assert_close(mean[LAST].double(), exact / LARGE.num_segments)
    torch.testing.assert_close(m2[LAST].double(), exact.square() * (1 - 1 / LARGE.num_segments))


@pytest.mark.large
@every_format
def test_shift_split_beyond_32_bits(large_frames, memory_format):
    u, split = large_frames(memory_format), (LARGE.num_segments, 12, 2, 1)
    rectified = torch.relu(2 * u[LAST])
    spatial, temporal = compiled.shift_split(u, coefficients(), *split)
    assert torch.equal(spatial[LAST][4:], rectified[4:12])
    assert torch.equal(spatial[-2, :2, -1, -3:], rectified[:2])
    assert torch.equal(temporal[LAST], rectified[12:])
    passed = (spatial, temporal, u, coefficients())
    sums = compiled.shift_split_backward_sums(*passed, *split)
    torch.testing.assert_close(sums[0, 4:], rectified[4:].float().sum(-1))
    grad_u = compiled.shift_split_backward(*passed, grad_coefficients(), *split)
    expected = (2 * rectified.double() + u[LAST].double())[4:]
    torch.testing.assert_close(grad_u[LAST][4:].double(), expected, rtol=2**-8, atol=0)


@pytest.mark.large
@every_format
def test_refine_beyond_32_bits(large_frames, memory_format):
    branches = large_frames(memory_format, 12), large_frames(memory_format, 4)
    of_pixels = torch.empty(1, 4, *LARGE.frames[2:], memory_format=memory_format).fill_(0.5)
    gates = (torch.full((LARGE.frames[0], 12), 0.5), of_pixels)
    means = tuple(gate.zero_() if gate.ndim == 2 else gate for gate in (gates[0].clone(), gates[1]))
    frames, segments = torch.cat([y[LAST] for y in branches]), LARGE.num_segments
    out = compiled.refine(*branches, *gates, coefficients(), segments)
    rectified = torch.relu(frames)
    assert torch.equal(out[LAST], rectified)
    of_frames, of_clip = compiled.refine_backward_sums(
        out, *branches, *gates, *means, coefficients(), segments
    )
    last_frame = LARGE.frames[0] - 1
    torch.testing.assert_close(of_frames[last_frame], rectified[:12].float().sum(-1))
    assert torch.equal(of_clip[0, :, -1, -3:], rectified[12:].float())
    none = (torch.zeros(LARGE.frames[0], 12), of_clip[:1].zero_())
    grads = compiled.refine_backward(
        out, *branches, *gates, *none, coefficients(), grad_coefficients(), segments
    )
    expected = rectified.double() + frames.double() / 4
    actual = torch.cat([grad[LAST] for grad in grads]).double()
    torch.testing.assert_close(actual, expected, rtol=2**-8, atol=0)


@pytest.mark.large
@every_format
def test_add_relu_beyond_32_bits(large_frames, memory_format):
    w = large_frames(memory_format)
    rectified = torch.relu(w[LAST].double())
    out = compiled.add_relu(w, w, coefficients(), None)
    torch.testing.assert_close(out[LAST].double(), 3 * rectified, rtol=2**-8, atol=0)
    del out
    sums, d = compiled.add_relu_backward_sums(w, w, w, None, coefficients(), None)
    torch.testing.assert_close(sums[0].double(), rectified.sum(-1))
    assert torch.equal(d[LAST].double(), rectified)
    plain = (coefficients(), None, grad_coefficients(), None)
    grad_w, _ = compiled.add_relu_backward(d, None, w, None, *plain)
    expected = 2 * rectified + w[LAST].double()
    torch.testing.assert_close(grad_w[LAST].double(), expected, rtol=2**-8, atol=0)
    del d, grad_w
    both = (coefficients(), coefficients(), grad_coefficients(), grad_coefficients())
    for grad in compiled.add_relu_backward(w, w, w, w, *both):
        torch.testing.assert_close(grad[LAST].double(), expected, rtol=2**-8, atol=0)
