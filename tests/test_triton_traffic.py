"""Triton kernels read and write what the passes of their operators are, and little else."""

from __future__ import annotations

import pytest
import torch
from backend_cases import running_on
from cases import Clips
from registered_calls import registered_calls

from stc_ops.triton_backend import installation, launch

pytest.importorskip("triton", reason="triton is not installed")
if not installation.interprets():
    reason = "what is moved is counted in Triton's interpreter: set TRITON_INTERPRET=1"
    pytest.skip(reason, allow_module_level=True)

from triton_traffic import counted

STAGES = {"64x56": (64, 56), "128x28": (128, 28), "256x14": (256, 14), "512x7": (512, 7)}
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
NUM_SEGMENTS = 4

# For one short clip a device as small as this takes as many tiles a program as the largest devices
# do for a batch, and reads what belongs to a channel or a frame as seldom.
SMALL_DEVICE = launch.Gpu("cpu", warp_size=32, multiprocessors=8)

# Large tensors read and written, in units of one over all channels. The split takes half of the
# channels as they are and of the others the `grid`, every second pixel of every second row.
PASSES = {
    "temporal_shift": lambda grid: (1, 1),
    "temporal_shift_backward": lambda grid: (1, 1),
    "spatial_pool": lambda grid: (1, 0),
    "spatial_pool_backward": lambda grid: (0, 1),
    "temporal_pool": lambda grid: (1, 0),
    "temporal_pool_backward": lambda grid: (0, 1),
    "temporal_gate": lambda grid: (1, 1),
    "temporal_gate_backward": lambda grid: (2, 1),
    "spatial_gate": lambda grid: (1, 1),
    "spatial_gate_backward": lambda grid: (2, 1),
    "spatial_moments": lambda grid: (1, 0),
    "temporal_moments": lambda grid: (1, 0),
    "shift_split": lambda grid: (0.5 + grid / 2, 0.5 + grid / 2),
    "shift_split_backward_sums": lambda grid: (1.5 + grid / 2, 0),
    "shift_split_backward": lambda grid: (1.5 + grid / 2, 1),
    "refine": lambda grid: (1, 1),
    "refine_backward_sums": lambda grid: (2, 0),
    "refine_backward": lambda grid: (2, 1),
    "add_relu": lambda grid: (2, 1),
    "add_relu_backward_sums": lambda grid: (3, 1),
    "add_relu_backward": lambda grid: (4, 2),
}

# Names of arguments that are frames.
FRAMES = {
    *("frames", "grad_frames", "out", "grad_out", "u", "grad", "grad_u"),
    *("y", "grad_y", "w", "identity", "grad_w", "grad_identity"),
}
KEPT_PER_GROUP = {"sum_rows_kernel", "logits_backward_kernel", "merge_moments_kernel"}


def totals(launches):
    """Bytes read and written of frames, bytes of all else, and bytes that all else has."""
    read = written = small = small_size = 0
    for kernel, tensors in launches:
        for name, moved in tensors.items():
            if name in FRAMES and kernel not in KEPT_PER_GROUP:
                read, written = read + moved.read, written + moved.written
            else:
                small += moved.read + moved.written
                small_size += moved.size
    return read, written, small, small_size


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("operator", PASSES)
def test_bytes_are_those_of_the_passes(operator, stage, layout, monkeypatch):
    channels, size = STAGES[stage]
    clips = Clips(1, NUM_SEGMENTS, channels, size, size)
    arguments = registered_calls(clips, FORMATS[layout])[operator]
    with running_on("triton"), counted() as launches:
        monkeypatch.setattr(launch, "gpu_of", lambda device: SMALL_DEVICE)
        monkeypatch.setattr(launch, "TILE_SIZE", 1024)
        getattr(torch.ops.stc_ops, operator)(*arguments)
    read, written, small, small_size = totals(launches)
    on_grid = ((size + 1) // 2) ** 2 / size**2
    unit = NUM_SEGMENTS * channels * size * size * torch.float32.itemsize
    passes_read, passes_written = (passes * unit for passes in PASSES[operator](on_grid))
    assert written == passes_written
    # The shift leaves out the frames beyond the ends of clips.
    not_there = unit / NUM_SEGMENTS / 4
    assert passes_read - not_there <= read <= passes_read
    assert small <= small_size + 0.05 * (passes_read + passes_written)
