"""The choice of backend, and what is said about it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import stc_ops
from stc_ops import _C, backends, cuda_library

CPU = torch.device("cpu")


def run_python(code, tmp_path, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


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


def test_cuda_tensors_take_the_compiled_kernels_where_they_are_loaded():
    expected = "cuda" if _is_loaded() else "reference"
    assert backends.select_backend("spatial_pool", torch.device("cuda")) == expected


def test_available_backends():
    assert stc_ops.available_backends() == ("reference", "cpu")
    assert stc_ops.available_backends("meta") == ("reference",)


def test_environment_variable_forces_a_backend(tmp_path):
    code = "import stc_ops; print(stc_ops.backends.forced_backend())"
    result = run_python(code, tmp_path, STC_OPS_BACKEND="reference")
    assert result.stdout.strip() == "reference", result.stderr


def test_environment_variable_with_an_unknown_backend(tmp_path):
    result = run_python("import stc_ops", tmp_path, STC_OPS_BACKEND="tpu")
    assert result.returncode == 1
    assert "STC_OPS_BACKEND must be one of reference, cpu, cuda, got 'tpu'" in result.stderr


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


def test_import_needs_neither_video_nor_figures(tmp_path):
    code = "import sys, stc_ops; print({'av', 'matplotlib', 'rich'} & set(sys.modules))"
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
