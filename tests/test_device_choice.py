"""What runs on which of the devices here, decided from versions and architectures alone."""

from __future__ import annotations

import types

import pytest
import torch

from stc_ops import backends, config, cuda_library
from stc_ops.triton_backend import architectures
from stc_ops.triton_backend import installation as triton_kernels


@pytest.mark.parametrize(
    ("architecture", "capability", "runs"),
    [
        ("sm_80", (8, 0), True),
        ("sm_80", (8, 6), True),
        ("sm_86", (8, 0), False),
        ("sm_80", (9, 0), False),
        ("sm_120", (12, 0), True),
        ("sm_100", (12, 0), False),
        ("compute_80", (8, 0), True),
        ("compute_80", (12, 0), True),
        ("compute_90", (8, 9), False),
        ("sm_90a", (9, 0), True),
        ("sm_100a", (10, 3), False),
        ("sm_100f", (10, 3), True),
        ("sm_100f", (12, 0), False),
        ("compute_90a", (9, 0), True),
        ("compute_90a", (10, 0), False),
        ("compute_100f", (10, 3), True),
        ("compute_100f", (12, 0), False),
    ],
)
def test_devices_that_compiled_code_runs_on(architecture, capability, runs):
    assert cuda_library._runs_on(architecture, capability) == runs


@pytest.mark.parametrize(
    ("architectures", "capability", "compiles_ptx", "runs"),
    [
        (("sm_80", "compute_90"), (8, 6), False, True),
        (("sm_80", "compute_90"), (9, 0), True, True),
        (("sm_80", "compute_90"), (9, 0), False, False),
        ((), (9, 0), True, False),
    ],
)
def test_ptx_needs_a_driver_as_new_as_the_compiler(architectures, capability, compiles_ptx, runs):
    reason = cuda_library.why_no_code(architectures, capability, compiles_ptx)
    assert (reason is None) == runs
    if not runs:
        assert reason.endswith("not for sm_90")


@pytest.mark.parametrize(
    ("nvcc", "driver", "runs"),
    [
        ("13.0.48", (13, 0), True),
        ("13.2.51", (13, 0), True),
        ("12.8.61", (13, 0), True),
        ("13.0.48", (12, 8), False),
        ("12.6.20", (11, 8), False),
    ],
)
def test_drivers_that_a_cuda_runtime_runs_with(nvcc, driver, runs):
    reason = cuda_library.why_not_with_driver(nvcc, driver)
    assert (reason is None) == runs
    if not runs:
        assert reason == (
            f"its kernels were built with CUDA {nvcc}, which needs a driver for CUDA "
            f"{nvcc[:2]}, and the driver here is for CUDA {driver[0]}.{driver[1]}"
        )


def test_a_driver_without_a_version_runs_nothing():
    reason = "the version of CUDA's driver cannot be read"
    assert cuda_library.why_not_with_driver("13.0.48", None) == reason


@pytest.mark.parametrize(
    ("architecture", "compiles"),
    [
        ("gfx1030", False),
        ("gfx1010", False),
        ("gfx900", False),
        ("gfx940", False),
        ("gfx90a", True),
        ("gfx942", True),
        ("gfx1100", True),
        ("gfx1201", True),
        ("sm_61", False),
        ("sm_70", True),
        ("sm_120", True),
        (None, True),
    ],
)
def test_architectures_that_triton_compiles_for(architecture, compiles):
    reason = None if compiles else f"Triton does not compile for {architecture}"
    assert architectures.why_not_architecture(architecture) == reason


@pytest.fixture
def machine(monkeypatch):
    """Return a function that pretends GPUs, what was compiled for them, and Triton."""
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(backends._triton, "hold", lambda device_type: None)
    known = cuda_library._C.build_info()

    def pretend(gpus, *, compiled=(), triton=True, driver=(13, 0), hip=None):
        build = known | {"cuda_architectures": compiled, "nvcc": "13.0.48"}
        monkeypatch.setattr(cuda_library._C, "build_info", lambda: build)
        reason = None if compiled else "not built"
        monkeypatch.setattr(cuda_library, "WHY_NOT_LOADED", reason)
        monkeypatch.setattr(cuda_library, "driver_version", lambda: driver)
        monkeypatch.setattr(triton_kernels, "find_spec", lambda name: triton or None)
        monkeypatch.setattr(torch.version, "hip", hip)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: gpus[device.index])
        monkeypatch.setattr(
            torch.cuda,
            "get_device_properties",
            lambda device: types.SimpleNamespace(gcnArchName=gpus[device.index]),
        )
        cuda_library.why_not_on.cache_clear()
        backends._chosen_once.cache_clear()

    yield pretend
    monkeypatch.undo()
    cuda_library.why_not_on.cache_clear()
    backends._chosen_once.cache_clear()


def choices(*devices):
    return [backends.select_backend("spatial_pool", torch.device(device)) for device in devices]


def test_each_gpu_has_a_choice_of_its_own(machine):
    machine([(8, 6), (9, 0)], compiled=("sm_80",))
    assert choices("cuda:0", "cuda:1", "cuda") == ["cuda", "triton", "cuda"]
    assert backends.why_not("cuda", "cuda:0") is None
    reason = "CUDA kernels were compiled for sm_80, not for sm_90"
    assert backends.why_not("cuda", "cuda:1") == reason
    machine([(9, 0), (8, 6)], compiled=("sm_80",), triton=False)
    assert choices("cuda:0", "cuda:1", "cuda") == ["reference", "cuda", "reference"]
    assert backends.why_not("cuda", "cuda") == reason


def test_a_forced_backend_is_refused_on_a_gpu_without_code_only(machine):
    machine([(8, 6), (9, 0)], compiled=("sm_80",))
    with backends.use_backend("cuda"):
        assert choices("cuda:0") == ["cuda"]
        with pytest.raises(RuntimeError, match="asked for, but CUDA kernels were"):
            choices("cuda:1")


def test_an_old_driver_runs_no_compiled_kernels(machine, capsys):
    machine([(9, 0)], compiled=("sm_90",), driver=(12, 8))
    assert choices("cuda:0") == ["triton"]
    reason = backends.why_not("cuda", "cuda:0")
    assert reason.endswith("and the driver here is for CUDA 12.8")
    machine([(9, 0)], compiled=("sm_90",), driver=(12, 8), triton=False)
    assert choices("cuda:0") == ["reference"]
    config.show_config()
    assert f"    cuda            cuda:0: {reason}\n" in capsys.readouterr().out


@pytest.mark.parametrize("hip", [None, "7.0"])
def test_a_gpu_that_triton_does_not_compile_for_takes_the_reference(machine, hip):
    old, new = ("gfx1030", "gfx942:sramecc+:xnack-") if hip else ((6, 1), (9, 0))
    machine([old, new], hip=hip)
    assert choices("cuda:0", "cuda:1") == ["reference", "triton"]
    reason = f"Triton does not compile for {'gfx1030' if hip else 'sm_61'}"
    assert backends.why_not("triton", "cuda:0") == reason
    assert backends.why_not("triton", "cuda:1") is None


@pytest.mark.parametrize(
    ("device", "compiled", "triton", "interpreted", "expected"),
    [
        ("cpu", True, True, False, "cpu"),
        ("cpu", True, True, True, "cpu"),
        ("cuda", True, True, False, "cuda"),
        ("cuda", False, True, False, "triton"),
        ("cuda", False, False, False, "reference"),
        ("cuda", False, True, True, "reference"),
        ("xpu", True, True, False, "triton"),
        ("xpu", True, False, False, "reference"),
        ("meta", True, True, False, "reference"),
    ],
)
def test_choice_for_devices_that_are_not_here(
    machine, monkeypatch, device, compiled, triton, interpreted, expected
):
    machine([], compiled=("sm_90",) if compiled else (), triton=triton)
    monkeypatch.setenv("TRITON_INTERPRET", str(int(interpreted)))
    assert choices(device) == [expected]
