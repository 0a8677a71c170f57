"""Every Triton kernel in every configuration, compiled for every target, without a GPU."""

from __future__ import annotations

import re

import pytest
import torch
from cases import Clips
from registered_calls import registered_calls

from stc_ops.triton_backend import installation

pytest.importorskip("triton", reason="triton is not installed")
if installation.interprets():
    pytest.skip("kernels are interpreted, not compiled", allow_module_level=True)

from triton_binaries import MOST_SHARED_BYTES, moves_16_bytes, spilled_bytes
from triton_launches import TARGETS, recorded

from stc_ops.triton_backend.launch import THREADS

# Sizes that vectors divide, as those of all stages do in channels_last.
CLIPS = Clips(batch=1, num_segments=8, channels=256, height=32, width=32)
# Reductions in several splits.
LONG_ROWS = Clips(batch=1, num_segments=8, channels=64, height=56, width=56)
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}

# A number that could be an offset, and is computed in 32 bits.
NARROW_PRODUCT = re.compile(r"arith\.(?:muli|shli)\b.*: (?:tensor<[^>]*xi32|i32)")

# What they move is small, or is stored per group.
SMALL = ("merge_moments", "coefficients", "grad_coefficients")
WITHOUT_LARGE_LOADS = (*SMALL, "broadcast")
WITHOUT_LARGE_STORES = (
    *SMALL,
    "moments",
    "mean",
    "sum_rows",
    "channel_sums",
    "split_sums",
    "refine_sums",
    "residual_sums",
)


def of_dtype(arguments, dtype):
    """Frames in `dtype`; what is kept per group or channel is float64 only beside float64."""
    frames = CLIPS.batch * CLIPS.num_segments

    def converted(value):
        if value is torch.float32:  # an argument that is a dtype
            return dtype
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        is_frames = value.ndim == 4 and value.shape[0] == frames
        return value.to(dtype) if is_frames or dtype == torch.float64 else value

    return tuple(converted(value) for value in arguments)


def all_launches(memory_format, dtype, clips=CLIPS):
    with recorded() as every:
        for name, arguments in registered_calls(clips, memory_format).items():
            getattr(torch.ops.stc_ops, name)(*of_dtype(arguments, dtype))
    return every


def launches(memory_format, dtype):
    """The first launch of every kernel: of the split, the channels that have no stride."""
    every = all_launches(memory_format, dtype)
    return list({launch.name: launch for launch in reversed(every)}.values())


def is_one_of(launch, names):
    return launch.name.removesuffix("_kernel") in names


def check(launch, target, folder, itemsize):
    compiled = launch.compile(target)
    text = f"{launch.name} of {dict(launch.constants)} for {target}"
    spilled = spilled_bytes(compiled, folder)
    assert spilled, text
    assert not any(spilled), text
    assert compiled.metadata.shared <= MOST_SHARED_BYTES[target], text
    if launch.elements * itemsize < 16 * THREADS:
        return compiled  # not enough for each thread
    if not is_one_of(launch, WITHOUT_LARGE_LOADS):
        assert moves_16_bytes(compiled, "load"), text
    if not is_one_of(launch, WITHOUT_LARGE_STORES):
        assert moves_16_bytes(compiled, "store"), text
    return compiled


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_kernel_in_every_configuration(target, layout, tmp_path):
    every = launches(FORMATS[layout], torch.float16)
    assert len(every) >= 20
    for launch in every:
        for configured in launch.in_every_configuration(itemsize=2):
            check(configured, target, tmp_path, itemsize=2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
def test_every_dtype(target, dtype, tmp_path):
    for launch in launches(torch.channels_last, DTYPES[dtype]):
        check(launch, target, tmp_path, DTYPES[dtype].itemsize)


@pytest.mark.parametrize("layout", FORMATS)
def test_every_kernel_has_64_bit_offsets(layout, tmp_path, monkeypatch):
    monkeypatch.setattr("stc_ops.triton_backend.launch.LARGEST_NARROW_SIZE", 0)
    for launch in launches(FORMATS[layout], torch.float16):
        assert dict(launch.constants)["INDEX"].name == "int64"
        compiled = check(launch, "sm_90", tmp_path, itemsize=2)
        assert not NARROW_PRODUCT.findall(compiled.asm["ttir"]), launch.name


def test_the_type_of_offsets_follows_all_that_is_touched():
    # Of this kernel the results are rows of a table.
    for launch in all_launches(torch.contiguous_format, torch.float32, LONG_ROWS):
        assert launch.takes_whole_buffers or launch.name == "merge_moments_kernel", launch.name


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
def test_many_splits(target, tmp_path):
    every = all_launches(torch.channels_last, torch.float32, LONG_ROWS)
    merging = [launch for launch in every if is_one_of(launch, ("merge_moments", "sum_rows"))]
    assert max(dict(launch.constants)["BLOCK_R"] for launch in merging) >= 128
    for launch in merging:
        check(launch, target, tmp_path, itemsize=4)
