"""What is said to somebody who passes the wrong thing, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from backend_cases import every_backend_of_cpu_tensors

import stc_ops

FRAMES = torch.zeros(6, 4, 2, 3)
FRAME_LOGITS = torch.zeros(6, 4)
CLIP_LOGITS = torch.zeros(2, 4, 2, 3)

ERRORS = {
    "shift-not-a-tensor": (
        lambda: stc_ops.temporal_shift([1.0], 3),
        TypeError,
        "temporal_shift: x must be a torch.Tensor, got list",
    ),
    "shift-dtype": (
        lambda: stc_ops.temporal_shift(FRAMES.int(), 3),
        TypeError,
        "temporal_shift: x must be one of float32, float64, bfloat16, float16, got int32",
    ),
    "shift-sparse": (
        lambda: stc_ops.temporal_shift(FRAMES.to_sparse(), 3),
        TypeError,
        "temporal_shift: x must be strided, got sparse_coo",
    ),
    "shift-dimensions": (
        lambda: stc_ops.temporal_shift(FRAMES[0], 3),
        ValueError,
        "temporal_shift: x must have 4 dimensions (N*T, C, H, W), got 3 with shape (4, 2, 3)",
    ),
    "shift-segments": (
        lambda: stc_ops.temporal_shift(FRAMES, 4),
        ValueError,
        "temporal_shift: x must hold a multiple of num_segments=4 frames, "
        "got 6 in shape (6, 4, 2, 3)",
    ),
    "shift-segments-zero": (
        lambda: stc_ops.temporal_shift(FRAMES, 0),
        ValueError,
        "temporal_shift: num_segments must be at least 1, got 0",
    ),
    "shift-segments-float": (
        lambda: stc_ops.temporal_shift(FRAMES, 3.0),
        TypeError,
        "temporal_shift: num_segments must be an int, got float",
    ),
    "shift-div": (
        lambda: stc_ops.temporal_shift(FRAMES, 3, shift_div=1),
        ValueError,
        "temporal_shift: shift_div must be at least 2, got 1",
    ),
    "shift-div-bool": (
        lambda: stc_ops.temporal_shift(FRAMES, 3, shift_div=True),
        TypeError,
        "temporal_shift: shift_div must be an int, got bool",
    ),
    "spatial-pool-dimensions": (
        lambda: stc_ops.spatial_pool(FRAMES[None]),
        ValueError,
        "spatial_pool: y must have 4 dimensions (N*T, C, H, W), got 5 with shape (1, 6, 4, 2, 3)",
    ),
    "temporal-pool-segments": (
        lambda: stc_ops.temporal_pool(FRAMES, 5),
        ValueError,
        "temporal_pool: y must hold a multiple of num_segments=5 frames, "
        "got 6 in shape (6, 4, 2, 3)",
    ),
    "temporal-gate-shape": (
        lambda: stc_ops.temporal_gate(FRAMES, FRAME_LOGITS.t()),
        ValueError,
        "temporal_gate: logits must have shape (6, 4) for y of shape (6, 4, 2, 3), got (4, 6)",
    ),
    "temporal-gate-dtype": (
        lambda: stc_ops.temporal_gate(FRAMES.bfloat16(), FRAME_LOGITS.bfloat16()),
        TypeError,
        "temporal_gate: logits must be float32 for y of bfloat16, got bfloat16",
    ),
    "temporal-gate-device": (
        lambda: stc_ops.temporal_gate(FRAMES, FRAME_LOGITS.to("meta")),
        ValueError,
        "temporal_gate: logits must be on cpu, got meta",
    ),
    "temporal-gate-dtype-on-meta": (
        lambda: stc_ops.temporal_gate(FRAMES.to("meta"), FRAME_LOGITS.to("meta").bfloat16()),
        TypeError,
        "temporal_gate: logits must be float32 for y of float32, got bfloat16",
    ),
    "spatial-gate-shape": (
        lambda: stc_ops.spatial_gate(FRAMES, FRAMES, 3),
        ValueError,
        "spatial_gate: logits must have shape (2, 4, 2, 3) for y of shape (6, 4, 2, 3), "
        "got (6, 4, 2, 3)",
    ),
    "spatial-gate-dtype": (
        lambda: stc_ops.spatial_gate(FRAMES.double(), CLIP_LOGITS, 3),
        TypeError,
        "spatial_gate: logits must be float64 for y of float64, got float32",
    ),
    "spatial-gate-dtype-on-meta": (
        lambda: stc_ops.spatial_gate(FRAMES.to("meta"), CLIP_LOGITS.to("meta").double(), 3),
        TypeError,
        "spatial_gate: logits must be float32 for y of float32, got float64",
    ),
    "spatial-gate-segments": (
        lambda: stc_ops.spatial_gate(FRAMES, CLIP_LOGITS, -1),
        ValueError,
        "spatial_gate: num_segments must be at least 1, got -1",
    ),
}


@every_backend_of_cpu_tensors
@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_error_names_operator_argument_expected_and_got(backend, call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


CPU_ERRORS = {
    "dimensions": lambda ops: ops.temporal_shift(FRAMES[0], 3, 8),
    "segments": lambda ops: ops.temporal_shift(FRAMES, 4, 8),
    "no-segments": lambda ops: ops.temporal_pool(FRAMES, 0),
    "dtype": lambda ops: ops.spatial_pool(FRAMES.int()),
    "logits-shape": lambda ops: ops.temporal_gate(FRAMES, CLIP_LOGITS),
    "logits-dtype": lambda ops: ops.spatial_gate(FRAMES, CLIP_LOGITS.double(), 3),
    "grad-shape": lambda ops: ops.temporal_gate_backward(FRAMES[:3], FRAMES, FRAME_LOGITS),
    "grad-dtype": lambda ops: ops.spatial_gate_backward(FRAMES.half(), FRAMES, CLIP_LOGITS, 3),
    "pool-grad-dtype": lambda ops: ops.spatial_pool_backward(
        FRAME_LOGITS.double(), 2, 3, torch.float32, torch.contiguous_format
    ),
    "negative-size": lambda ops: ops.spatial_pool_backward(
        FRAME_LOGITS, -2, 3, torch.float32, torch.contiguous_format
    ),
}


@pytest.mark.parametrize("call", CPU_ERRORS.values(), ids=CPU_ERRORS.keys())
def test_registered_operators_check_for_themselves_too(call):
    with pytest.raises(RuntimeError, match=r"expected|must|does not") as caught:
        call(torch.ops.stc_ops)
    # It names the source, but not where that was built.
    assert not re.search(r"(^|[\s,:(])/", str(caught.value))


def test_the_library_holds_no_path_of_a_source_where_it_was_built():
    library = Path(stc_ops._C.__file__).read_bytes()
    assert b"launch.h\0" in library
    assert not re.search(rb"\0/[^\0]*\.(h|cpp)\0", library)
