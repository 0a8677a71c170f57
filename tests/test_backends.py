"""The choice of backend, and what is said about it."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import stc_ops
from stc_ops import _C, backends, config, cuda_library
from stc_ops.triton_backend import installation as triton_kernels

CPU = torch.device("cpu")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


def run_python(code, tmp_path, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def pretend(monkeypatch):
    """Return a function that pretends that Triton is installed or not, and interpreted or not."""

    def pretend(installed, interpreted):
        monkeypatch.setattr(triton_kernels, "find_spec", lambda name: installed or None)
        monkeypatch.setenv("TRITON_INTERPRET", "1" if interpreted else "0")

    return pretend


def test_cpu_tensors_take_the_compiled_kernels_and_others_the_reference():
    assert backends.select_backend("spatial_pool", CPU) == "cpu"
    assert backends.select_backend("spatial_pool", torch.device("meta")) == "reference"


def test_operators_run_on_meta_tensors():
    assert stc_ops.spatial_pool(torch.empty(4, 3, 2, 2, device="meta")).shape == (4, 3)


def test_context_manager_forces_and_restores():
    with stc_ops.use_backend("reference"):
        assert backends.select_backend("spatial_pool", CPU) == "reference"
        with stc_ops.use_backend("cpu"):
            assert backends.select_backend("spatial_pool", CPU) == "cpu"
        assert backends.select_backend("spatial_pool", CPU) == "reference"
    assert backends.forced_backend() is None


def test_context_manager_forces_its_own_thread_only():
    entered, leave = threading.Event(), threading.Event()

    def force_the_reference():
        with stc_ops.use_backend("reference"):
            entered.set()
            leave.wait(timeout=60)

    thread = threading.Thread(target=force_the_reference)
    thread.start()
    assert entered.wait(timeout=60)
    with stc_ops.use_backend("cpu"):
        leave.set()
        thread.join()
        assert backends.forced_backend() == "cpu"
    assert backends.forced_backend() is None


def test_compiled_code_is_compiled_anew_when_the_backend_changes():
    torch._dynamo.reset()
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph.code)
        return graph

    compiled = torch.compile(stc_ops.spatial_pool, fullgraph=True, backend=keep)
    y = torch.randn(4, 3, 2, 2)
    for backend in ("reference", "cpu", "reference"):
        with stc_ops.use_backend(backend):
            compiled(y)
    assert ["stc_ops" in graph for graph in graphs] == [False, True]


def test_context_manager_restores_after_an_error():
    with pytest.raises(KeyError), stc_ops.use_backend("reference"):
        raise KeyError
    assert backends.forced_backend() is None


def test_the_reference_really_runs_plain_pytorch():
    y = torch.randn(4, 3, 2, 2, requires_grad=True)
    with stc_ops.use_backend("reference"):
        assert "Mean" in stc_ops.spatial_pool(y).grad_fn.name()
    with stc_ops.use_backend("cpu"):
        assert "stc_ops_spatial_pool" in stc_ops.spatial_pool(y).grad_fn.name()


def test_unknown_backend():
    with pytest.raises(ValueError, match=r"^use_backend: backend must be one of .*, got 'tpu'$"):
        stc_ops.use_backend("tpu").__enter__()


def test_backend_that_cannot_run_says_why():
    meta = torch.empty(4, 3, 2, 2, device="meta")
    message = (
        "spatial_pool: backend 'cpu' was asked for, but its kernels run on CPU tensors, "
        "and the tensor is on 'meta'"
    )
    with stc_ops.use_backend("cpu"), pytest.raises(RuntimeError) as error:
        stc_ops.spatial_pool(meta)
    assert str(error.value) == message


CUDA_CANNOT_RUN = backends.why_not("cuda", "cuda")


@pytest.mark.skipif(CUDA_CANNOT_RUN is None, reason="CUDA kernels can run here")
def test_cuda_backend_that_cannot_run_says_why():
    with stc_ops.use_backend("cuda"), pytest.raises(RuntimeError) as error:
        stc_ops.spatial_pool(torch.empty(4, 3, 2, 2))
    assert str(error.value) == f"spatial_pool: backend 'cuda' was asked for, but {CUDA_CANNOT_RUN}"
    expected = "this machine has no CUDA device" if _is_loaded() else "there are no CUDA kernels: "
    assert CUDA_CANNOT_RUN.startswith(expected)


def _is_loaded():
    return cuda_library.WHY_NOT_LOADED is None


@pytest.mark.gpu
@pytest.mark.skipif(CUDA_CANNOT_RUN is not None, reason=f"{CUDA_CANNOT_RUN}")
def test_cuda_kernels_do_not_run_on_cpu_tensors():
    message = "its kernels run on CUDA tensors, and the tensor is on 'cpu'"
    with stc_ops.use_backend("cuda"), pytest.raises(RuntimeError, match=message):
        stc_ops.spatial_pool(torch.empty(4, 3, 2, 2))


def test_automatic_choice_within_torch_compile(tmp_path):
    code = """
import torch, stc_ops
compiled = torch.compile(stc_ops.spatial_pool, fullgraph=True, backend="eager")
with torch._subclasses.FakeTensorMode():
    pooled = compiled(torch.empty(8, 16, 4, 4, device="cuda"))
print(pooled.device.type, tuple(pooled.shape))
"""
    result = run_python(code, tmp_path, TRITON_INTERPRET="0")
    assert result.stdout.strip() == "cuda (8, 16)", result.stderr
    assert "UserWarning" not in result.stderr


@needs_triton
def test_automatic_choice_of_triton_gives_every_operator_its_kernel(tmp_path):
    code = """
import torch, stc_ops
names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("stc_ops::")]
print(stc_ops.backends.select_backend("spatial_pool", torch.device("xpu")), len(names) > 20)
has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
keys = ("XPU", "CompositeExplicitAutograd")
print([each for each in names if not any(has_kernel(each, key) for key in keys)])
"""
    result = run_python(code, tmp_path, TRITON_INTERPRET="0", STC_OPS_BACKEND="")
    assert result.stdout == "triton True\n[]\n", result.stderr


@pytest.mark.parametrize(
    ("installed", "interpreted", "expected"),
    [
        (True, True, ("reference", "cpu", "triton")),
        (True, False, ("reference", "cpu")),
        (False, True, ("reference", "cpu")),
    ],
)
def test_available_backends(pretend, installed, interpreted, expected):
    pretend(installed, interpreted)
    assert stc_ops.available_backends() == expected
    assert stc_ops.available_backends("meta") == ("reference",)


@pytest.mark.parametrize(
    ("installed", "why_not"),
    [
        (True, "it runs on 'cpu' tensors only with TRITON_INTERPRET=1"),
        (False, "triton is not installed"),
    ],
)
def test_triton_backend_that_cannot_run_says_why(pretend, installed, why_not):
    pretend(installed, interpreted=False)
    with stc_ops.use_backend("triton"), pytest.raises(RuntimeError) as error:
        stc_ops.spatial_pool(torch.empty(4, 3, 2, 2))
    assert str(error.value) == f"spatial_pool: backend 'triton' was asked for, but {why_not}"


@pytest.mark.parametrize(
    ("device_type", "interpreted", "why_not"),
    [
        ("cuda", True, "it runs on 'cuda' tensors only without TRITON_INTERPRET=1"),
        ("xpu", False, "this machine has no XPU device"),
        ("meta", False, "there is no Triton for tensors on 'meta'"),
    ],
)
def test_why_triton_cannot_run_on_a_device(pretend, monkeypatch, device_type, interpreted, why_not):
    pretend(True, interpreted)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    assert backends.why_not("triton", device_type) == why_not


# In a process of its own, so that it runs where the suite itself is not interpreted.
COUNTED_LAUNCHES = """
import torch, stc_ops
from stc_ops.triton_backend import launch

launches = []
run = launch.run
launch.run = lambda *arguments, **named: (launches.append(named), run(*arguments, **named))
"""


@needs_triton
@pytest.mark.parametrize(
    ("code", "environment"),
    [
        pytest.param(
            """
y = torch.randn(4, 3, 5, 7, requires_grad=True)
def pools():
    before = len(launches)
    pooled = stc_ops.spatial_pool(y)
    torch.testing.assert_close(pooled, y.mean((2, 3)))
    (grad,) = torch.autograd.grad(pooled.sum(), y)
    torch.testing.assert_close(grad, torch.full_like(y, 1 / 35))
    return len(launches) - before
assert pools() == 0
with stc_ops.use_backend("triton"):
    assert pools() == 2
    with stc_ops.use_backend("cpu"):
        assert pools() == 0
    assert pools() == 2
    with stc_ops.use_backend("triton"):
        assert pools() == 2
    assert pools() == 2
    with stc_ops.use_backend("reference"):
        assert pools() == 0
    assert pools() == 2
assert pools() == 0
""",
            {},
            id="nested",
        ),
        pytest.param(
            """
y, logits = torch.randn(8, 20, 5, 7), torch.randn(8, 20)
torch.testing.assert_close(stc_ops.temporal_gate(y, logits), y * logits.sigmoid()[..., None, None])
assert len(launches) == 1
with stc_ops.use_backend("cpu"):
    stc_ops.temporal_gate(y, logits)
assert len(launches) == 1
""",
            {"STC_OPS_BACKEND": "triton"},
            id="by the environment",
        ),
        pytest.param(
            """
bn = stc_ops.BatchNorm(None, None, None, None, training=True)
def step(shift, u):
    out = shift(u, bn, 4)
    return out, *torch.autograd.grad(out.square().sum(), u)
u = torch.randn(4, 8, 3, 3, requires_grad=True)
compiled = torch.compile(stc_ops.bn_relu_shift, fullgraph=True, backend="aot_eager")
with stc_ops.use_backend("triton"):
    expected = step(stc_ops.bn_relu_shift, u)
    eager_launches = len(launches)
    actual = step(compiled, u)
assert all(map(torch.equal, actual, expected))
assert len(launches) == 2 * eager_launches > 0
""",
            {},
            id="in torch.compile",
        ),
    ],
)
def test_forced_triton_runs_its_kernels(tmp_path, code, environment):
    environment = {"STC_OPS_BACKEND": "", "TRITON_INTERPRET": "1"} | environment
    result = run_python(COUNTED_LAUNCHES + code, tmp_path, **environment)
    assert result.returncode == 0, result.stderr


@pytest.mark.gpu
@pytest.mark.skipif(
    backends.why_not("triton", "cuda") is not None, reason=f"{backends.why_not('triton', 'cuda')}"
)
def test_forced_triton_on_a_gpu_takes_the_place_of_compiled_kernels(monkeypatch):
    from stc_ops.triton_backend import launch

    launches = []
    monkeypatch.setattr(launch, "run", lambda *arguments, **named: launches.append(named))
    y = torch.randn(4, 3, 5, 7, device="cuda")
    with stc_ops.use_backend("triton"):
        stc_ops.spatial_pool(y)
    assert len(launches) == 1


def test_environment_variable_forces_a_backend(tmp_path):
    code = "import stc_ops; print(stc_ops.backends.forced_backend())"
    result = run_python(code, tmp_path, STC_OPS_BACKEND="reference")
    assert result.stdout.strip() == "reference", result.stderr


def test_environment_variable_with_an_unknown_backend(tmp_path):
    result = run_python("import stc_ops", tmp_path, STC_OPS_BACKEND="tpu")
    assert result.returncode == 1
    assert "STC_OPS_BACKEND must be one of reference, cpu, cuda, triton, got 'tpu'" in result.stderr


@pytest.mark.parametrize("isa", _C.build_info()["cpu_isas"])
def test_every_instruction_set_gives_the_right_result(tmp_path, isa):
    code = """
import torch, stc_ops
y, logits = torch.randn(8, 20, 5, 7), torch.randn(8, 20)
assert torch.allclose(stc_ops.temporal_gate(y, logits), y * logits.sigmoid()[..., None, None])
half = y.half()
assert torch.equal(stc_ops.temporal_gate(half, torch.full((8, 20), 1e9)), half)
print(stc_ops._C.build_info()["cpu_isa_in_use"])
"""
    result = run_python(code, tmp_path, STC_OPS_CPU_ISA=isa)
    if "this processor does not have it" in result.stderr:
        pytest.skip(f"this processor has no {isa}")
    assert result.stdout.strip() == isa, result.stderr


def test_unknown_instruction_set(tmp_path):
    result = run_python("import stc_ops", tmp_path, STC_OPS_CPU_ISA="sse9")
    assert result.returncode == 1
    assert "STC_OPS_CPU_ISA must be one of baseline" in result.stderr
    assert "got sse9" in result.stderr


def test_show_config_tells_build_and_backends(capsys):
    stc_ops.show_config()
    text = capsys.readouterr().out
    build = _C.build_info()
    for expected in (build["version"], build["compiler"], build["cpu_isa_in_use"], "can run"):
        assert expected in text
    for backend in backends.BACKENDS:
        why_not = backends.why_not(backend, "cpu") or "can run"
        assert f"    {backend:<14}  cpu: {why_not}\n" in text


def test_show_config_tells_what_triton_is_there(capsys, monkeypatch):
    if find_spec("triton") is not None:
        stc_ops.show_config()
        version = importlib.import_module("triton").__version__
        assert f"  Triton            {version}\n" in capsys.readouterr().out
    monkeypatch.setattr(config, "find_spec", lambda name: None)
    stc_ops.show_config()
    assert "  Triton            not installed\n" in capsys.readouterr().out


def test_import_needs_no_optional_package(tmp_path):
    code = "import sys, stc_ops; print({'av', 'matplotlib', 'rich', 'triton'} & set(sys.modules))"
    result = run_python(code, tmp_path)
    assert result.stdout.strip() == "set()", result.stderr


def test_source_tree_without_the_extension_says_what_to_do(tmp_path):
    source = Path(stc_ops.__file__).parent
    shutil.copytree(source, tmp_path / "stc_ops", ignore=shutil.ignore_patterns("_C*"))
    result = run_python("import stc_ops", tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"ImportError: stc_ops was imported from {tmp_path / 'stc_ops'}, which has no compiled "
        "extension: install it with 'pip install .' and run from another folder, or with "
        "'pip install -e .'"
    )
