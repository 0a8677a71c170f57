"""How Triton kernels are launched: steps, offsets, options, and several threads at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from cases import Clips
from registered_calls import registered_calls

from stc_ops.triton_backend import installation

pytest.importorskip("triton", reason="triton is not installed")

import triton
from triton.backends.compiler import GPUTarget

from stc_ops.triton_backend import launch

compiles = pytest.mark.skipif(
    installation.interprets(), reason="kernels are interpreted, not compiled"
)
WHOLE = launch.Tile(64, 16)


@pytest.mark.parametrize(
    ("groups", "rows", "tile", "itemsize", "multiprocessors", "steps"),
    [
        pytest.param(64 * 132, 16 * 64, WHOLE, 2, 132, 8, id="enough for all"),
        pytest.param(64 * 132, 16 * 64, WHOLE, 4, 132, 4, id="twice the bytes"),
        pytest.param(64 * 132, 16 * 64, launch.Tile(32, 16), 8, 132, 4, id="float64"),
        pytest.param(64 * 132, 16 * 12, WHOLE, 2, 132, 2, id="three of four programs left"),
        pytest.param(64 * 132, 16 * 12, WHOLE, 2, 44, 8, id="a smaller device"),
        pytest.param(64 * 132, 16 * 4, WHOLE, 2, 132, 1, id="just busy"),
        pytest.param(64 * 100000, 16 * 3, WHOLE, 2, 132, 2, id="few rows"),
        pytest.param(64 * 100000, 16, WHOLE, 2, 132, 1, id="one row of tiles"),
        pytest.param(1, 1, launch.Tile(1, 1), 2, 132, 1, id="one element"),
    ],
)
def test_steps(groups, rows, tile, itemsize, multiprocessors, steps):
    assert launch.steps_of(groups, rows, tile, itemsize, multiprocessors) == steps


def test_options_leave_nothing_to_defaults():
    assert launch.options_for("hip", 64) == {"num_warps": 2, "enable_fp_fusion": True}
    assert launch.options_for("hip", 32) == {"num_warps": 4, "enable_fp_fusion": True}
    assert launch.options_for("cuda", 32) == {
        "num_warps": 4,
        "enable_fp_fusion": True,
        "maxnreg": 128,
    }


@pytest.mark.skipif(not installation.interprets(), reason="set TRITON_INTERPRET=1")
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_results_do_not_depend_on_steps(monkeypatch, memory_format):
    library = torch.library.Library("stc_ops", "IMPL")
    installation.register(library, "cpu", lambda device: True)
    monkeypatch.setattr(launch, "TILE_SIZE", 64)
    try:
        calls = registered_calls(Clips(1, 2, 8, 7, 10), memory_format)
        for name in ("temporal_gate", "temporal_shift", "refine", "shift_split_backward"):
            arguments, results = calls[name], []
            for steps in (1, 2, 8):
                monkeypatch.setattr(launch, "steps_of", lambda *sizes, steps=steps: steps)
                result = getattr(torch.ops.stc_ops, name)(*arguments)
                results.append(result if isinstance(result, tuple) else (result,))
            for other in results[1:]:
                assert all(map(torch.equal, results[0], other)), name
    finally:
        library._destroy()


class Driver:
    """A driver without a device: what is launched is written down."""

    def __init__(self):
        self.utils = self
        self.launched = []
        self.loads = threading.Event()

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_device_properties(self, device):
        return {"max_shared_mem": 2**17}

    def launcher_cls(self, source, metadata):
        # Grid, stream, function: then what Triton and the kernel want to know.
        return lambda x, y, z, stream, function, *others: self.launched.append(function)

    def load_binary(self, name, binary, shared, device):
        self.loads.set()
        time.sleep(0.1)  # in which other threads run
        return object(), f"loaded {name}", 32, 0, 1024

    def unload_module(self, module):
        pass


@compiles
def test_threads_launch_a_kernel_at_once(monkeypatch):
    driver = Driver()
    library = torch.library.Library("stc_ops", "IMPL")
    installation.register(library, "cpu", lambda device: True)
    monkeypatch.setattr(triton.runtime.driver, "_active", driver)
    # The options of a GPU.
    monkeypatch.setattr(launch, "gpu_of", lambda device: launch.Gpu("cuda", 32, 132))
    y, logits = torch.randn(8, 64, 7, 7), torch.randn(8, 64)
    try:
        with ThreadPoolExecutor(4) as threads:
            gates = [threads.submit(torch.ops.stc_ops.temporal_gate, y, logits)]
            assert driver.loads.wait(timeout=120)
            gates += [threads.submit(torch.ops.stc_ops.temporal_gate, y, logits) for _ in range(7)]
            for gate in gates:
                gate.result(timeout=120)
    finally:
        library._destroy()
    assert driver.launched == ["loaded gate_kernel"] * 8
