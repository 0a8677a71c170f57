"""The library of CUDA kernels, in a torch that has CUDA, with or without a device."""

from __future__ import annotations

import pytest
import torch

import stc_ops
from stc_ops import cuda_library

pytestmark = pytest.mark.skipif(
    cuda_library.WHY_NOT_LOADED is not None,
    reason=f"CUDA kernels are not loaded: {cuda_library.WHY_NOT_LOADED}",
)


def operators():
    prefix = "stc_ops::"
    names = torch._C._dispatch_get_all_op_names()
    return sorted(name for name in names if name.startswith(prefix))


def test_every_operator_has_a_cuda_kernel():
    assert len(operators()) > 20
    for name in operators():
        assert torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA"), name


def test_build_info_names_what_was_compiled():
    build = stc_ops._C.build_info()
    assert build["why_no_cuda"] == ""
    assert all(name.startswith(("sm_", "compute_")) for name in build["cuda_architectures"])
    assert build["nvcc"]


def test_fake_cuda_tensors_take_the_cuda_kernels():
    with torch._subclasses.FakeTensorMode():
        y = torch.empty(4, 3, 2, 2, device="cuda")
        pooled = stc_ops.spatial_pool(y)
    assert pooled.device.type == "cuda"
    assert pooled.shape == (4, 3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_the_backend_says_so():
    with stc_ops.use_backend("cuda"), pytest.raises(RuntimeError) as error:
        stc_ops.spatial_pool(torch.empty(4, 3, 2, 2))
    assert str(error.value) == (
        "spatial_pool: backend 'cuda' was asked for, but this machine has no CUDA device"
    )


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_kernels_run_on_the_device_of_their_tensors():
    y = torch.randn(4, 3, 2, 2, device="cuda:1")
    with torch.cuda.device(0):
        actual = stc_ops.spatial_pool(y)
    torch.testing.assert_close(actual, y.mean((2, 3)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_a_graph_captures_the_operators():
    y, logits = torch.randn(8, 16, 7, 7, device="cuda"), torch.randn(8, 16, device="cuda")
    stc_ops.temporal_gate(y, logits)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        gated = stc_ops.temporal_gate(y, logits)
        pooled = stc_ops.spatial_pool(gated)
    y.normal_()
    graph.replay()
    torch.testing.assert_close(pooled, (y * logits.sigmoid()[..., None, None]).mean((2, 3)))
