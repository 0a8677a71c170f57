"""The matrix that every operator is tested over: operators, clip shapes, dtypes, memory formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import pytest
import torch
from comparisons import Tolerance, assert_close

import stc_ops
from stc_ops.operators.checks import accumulation_dtype

Results = TypeVar("Results")

MEMORY_FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
every_format = pytest.mark.parametrize(
    "memory_format", MEMORY_FORMATS.values(), ids=MEMORY_FORMATS.keys()
)


class Clips(NamedTuple):
    """Shape of a batch of clips."""

    batch: int
    num_segments: int
    channels: int
    height: int
    width: int

    @property
    def frames(self) -> tuple[int, int, int, int]:
        return self.batch * self.num_segments, self.channels, self.height, self.width


SHAPES = {
    "typical": Clips(2, 8, 64, 7, 7),
    "odd": Clips(3, 3, 13, 5, 3),
    "one-pixel": Clips(2, 4, 24, 1, 1),
    "one-frame": Clips(2, 1, 16, 5, 6),
    "one-channel": Clips(2, 5, 1, 9, 9),
    "no-fold": Clips(1, 3, 3, 2, 2),
    "wide-channels": Clips(1, 2, 1027, 3, 2),
    "many-pixels": Clips(1, 2, 5, 61, 67),
    "many-frames": Clips(1, 37, 9, 4, 5),
    "one": Clips(1, 1, 1, 1, 1),
    "no-clips": Clips(0, 4, 16, 3, 3),
    "no-channels": Clips(2, 4, 0, 3, 3),
    "no-pixels": Clips(2, 4, 8, 0, 3),
}


# By the dtype of the tensor that is compared. Inputs are exact in float64, so what remains is the
# rounding of the result and of the sums.
TOLERANCES = {
    # Sums of a few thousand products of size one, each rounded at 1e-16.
    torch.float64: Tolerance(1e-12, 1e-12),
    # The same at 6e-8, and a sigmoid good to a few units in the last place. Pools of 16-bit frames
    # and gradients of logits are float32, and no less accurate.
    torch.float32: Tolerance(2e-6, 1e-5),
    # Everything inside is float32, and the result is rounded once, to the nearest value of 8
    # (bfloat16) or 11 (float16) bits.
    torch.bfloat16: Tolerance(2**-8 + 2e-6, 1e-5),
    torch.float16: Tolerance(2**-11 + 2e-6, 1e-5),
}
# Of what plain PyTorch computes of 16-bit gates: it rounds the gate, and every product of the sum
# that is the gradient of the logits, whatever the dtype of that.
PLAIN_GATE_TOLERANCES = {
    torch.bfloat16: Tolerance(2**-6, 2**-5),
    torch.float16: Tolerance(2**-9, 2**-8),
}


every_dtype = pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda d: str(d)[6:])
every_low_dtype = pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16], ids=lambda d: str(d)[6:]
)

STRIDED = {
    "every-second-channel": lambda x: torch.cat([x, x], 1)[:, ::2],
    "channel-slice": lambda x: torch.cat([x, x], 1)[:, 1 : 1 + x.shape[1]],
    "row-slice": lambda x: torch.cat([x, x], 2)[:, :, 1 : 1 + x.shape[2]],
    "frame-slice": lambda x: torch.cat([x, x], 0)[1 : 1 + x.shape[0]],
    "transposed-plane": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "permuted": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "expanded": lambda x: x[:1].expand_as(x),
}
every_stride = pytest.mark.parametrize("make_strided", STRIDED.values(), ids=STRIDED.keys())


class OperatorCase(NamedTuple):
    """An operator, and the shape of its second tensor where it has one."""

    run: Callable[..., torch.Tensor]
    logits_shape: Callable[[Clips], tuple[int, ...]] | None = None

    def inputs(
        self,
        clips: Clips,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> list[torch.Tensor]:
        """Return random inputs that require gradients."""
        frames = torch.randn(clips.frames, dtype=torch.float64)
        tensors = [frames.to(dtype).contiguous(memory_format=memory_format)]
        if self.logits_shape is not None:
            logits = torch.randn(self.logits_shape(clips), dtype=accumulation_dtype(dtype))
            if logits.ndim == 4:
                logits = logits.contiguous(memory_format=memory_format)
            tensors.append(logits)
        return [tensor.requires_grad_() for tensor in tensors]

    def coarse_dtype(self, backend: str, dtype: torch.dtype) -> torch.dtype | None:
        """The dtype that `backend` rounds to between the steps of a call on frames of `dtype`."""
        return dtype if backend == "reference" and self.logits_shape is not None else None


OPERATORS = {
    "temporal_shift": OperatorCase(lambda clips, x: stc_ops.temporal_shift(x, clips.num_segments)),
    "temporal_shift_third": OperatorCase(
        lambda clips, x: stc_ops.temporal_shift(x, clips.num_segments, shift_div=3)
    ),
    "spatial_pool": OperatorCase(lambda clips, y: stc_ops.spatial_pool(y)),
    "temporal_pool": OperatorCase(lambda clips, y: stc_ops.temporal_pool(y, clips.num_segments)),
    "temporal_gate": OperatorCase(
        lambda clips, y, logits: stc_ops.temporal_gate(y, logits),
        lambda clips: clips.frames[:2],
    ),
    "spatial_gate": OperatorCase(
        lambda clips, y, logits: stc_ops.spatial_gate(y, logits, clips.num_segments),
        lambda clips: (clips.batch, *clips.frames[1:]),
    ),
}


GATES = [name for name, case in OPERATORS.items() if case.logits_shape is not None]
every_operator = pytest.mark.parametrize("case", OPERATORS.values(), ids=OPERATORS.keys())


def run_with_gradients(
    case: OperatorCase, clips: Clips, inputs: list[torch.Tensor], grad: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """Return the output and the gradients of all inputs, for `grad` or a fixed random one."""
    out = case.run(clips, *inputs)
    if grad is None:
        # Rounded to bfloat16 it is exact in every dtype.
        generator = torch.Generator(torch.get_default_device()).manual_seed(1)
        grad = torch.randn(out.shape, generator=generator).bfloat16()
    return [out, *torch.autograd.grad(out, inputs, grad.to(out.dtype))]


def oracle(
    case: OperatorCase, clips: Clips, inputs: list[torch.Tensor], grad: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """Return what `run_with_gradients` should: plain PyTorch in float64."""
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    with stc_ops.use_backend("reference"):
        return run_with_gradients(case, clips, exact, grad)


def with_thread_counts(run: Callable[[], Results]) -> list[Results]:
    """Return the results of `run` with 1, 2, 3 and once more 3 threads."""
    threads_before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 3):
            torch.set_num_threads(threads)
            results.append(run())
    finally:
        torch.set_num_threads(threads_before)
    return results


def assert_all_close(
    actual: list[torch.Tensor],
    expected: list[torch.Tensor],
    coarse_dtype: torch.dtype | None = None,
) -> None:
    """Assert that results are the oracle's, each as close as its own dtype allows.

    `coarse_dtype` is that of :meth:`OperatorCase.coarse_dtype`.
    """
    for got, want in zip(actual, expected, strict=True):
        tolerance = PLAIN_GATE_TOLERANCES.get(coarse_dtype, TOLERANCES[got.dtype])
        assert_close(got.double(), want, tolerance)
