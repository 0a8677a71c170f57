"""A fused operator is one registered operator each way, and says what it changes."""

from __future__ import annotations

import pytest
import torch
from backend_cases import on_compiled_backends
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import stc_ops
from stc_ops.nn import batch_norm_of

T, C = 2, 8
A = C // 2


class Calls(TorchDispatchMode):
    """Notes every operator that is called inside."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.names.append(str(operator))
        return operator(*args, **kwargs or {})


def frames(channels=C):
    return torch.randn(2 * T, channels, 4, 3, requires_grad=True)


def split(norms):
    return stc_ops.bn_relu_shift_split(frames(), batch_norm_of(norms[0]), (A, A), T, stride=2)


def refine(norms):
    gates = (torch.randn(A, A, 3, requires_grad=True),)
    light = (torch.randn(5, A, 1, 1), torch.randn(A, 5, 3, 3, requires_grad=True))
    return stc_ops.refine_bn_relu(frames(A), frames(A), batch_norm_of(norms[0]), T, gates, light)


def add(norms):
    return stc_ops.bn_add_relu(frames(), batch_norm_of(norms[0]), frames())


def add_normalized(norms):
    of_w, of_identity = map(batch_norm_of, norms)
    return stc_ops.bn_add_relu(frames(), of_w, frames(), of_identity)


OPERATORS = {
    "bn_relu_shift_split": split,
    "refine_bn_relu": refine,
    "bn_add_relu": add,
    "bn_add_relu-normalized": add_normalized,
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", OPERATORS)
def test_one_call_there_and_one_back(name, training):
    norms = [nn.BatchNorm2d(C).train(training) for _ in range(2)]
    operator = f"stc_ops.{name.removesuffix('-normalized')}"
    with stc_ops.use_backend("cpu"), Calls() as forward:
        results = OPERATORS[name](norms)
    named = [each for each in forward.names if not each.startswith("aten.")]
    assert named == [f"{operator}{'_training' if training else ''}.default"]
    # What the gate networks call from within is noted too.
    if name != "refine_bn_relu":
        others = set(forward.names) - set(named)
        assert others <= {"aten.randn.default", "aten.detach.default"}
    results = results if isinstance(results, tuple) else (results,)
    grads = [torch.randn_like(each) for each in results]
    with Calls() as backward:
        torch.autograd.backward(results, grads)
    named = [each for each in backward.names if each.startswith("stc_ops.")]
    assert named == [f"{operator}_backward.default"]


@pytest.mark.parametrize("name", OPERATORS)
def test_without_a_graph_nothing_else_is_called(name):
    norms = [nn.BatchNorm2d(C).eval() for _ in range(2)]
    with torch.no_grad(), Calls() as forward:
        OPERATORS[name](norms)
    named = [each for each in forward.names if each.startswith("stc_ops.")]
    assert named == [f"stc_ops.{name.removesuffix('-normalized')}.default"]
    assert "aten.detach.default" not in forward.names


@on_compiled_backends
@pytest.mark.parametrize("name", OPERATORS)
def test_updated_statistics_count_as_changed(backend, name):
    norms = [nn.BatchNorm2d(C) for _ in range(2)]
    used = norms if name == "bn_add_relu-normalized" else norms[:1]
    saved = [buffer for norm in used for buffer in norm.buffers()]
    before = [each._version for each in saved]
    OPERATORS[name](norms)
    assert all(now._version > then for now, then in zip(saved, before, strict=True))
    assert all(norm.num_batches_tracked == 1 for norm in used)


def test_statistics_of_any_dtype_and_stride_are_updated(backend):
    u = frames().detach()
    plain, norm = nn.BatchNorm2d(C), nn.BatchNorm2d(C)
    plain(u)
    table = torch.zeros(C, 2)
    table[:, 1] = 1
    bn = batch_norm_of(norm)._replace(running_mean=table[:, 0], running_var=table[:, 1])
    stc_ops.bn_relu(u, bn)
    torch.testing.assert_close(table[:, 0], plain.running_mean)
    torch.testing.assert_close(table[:, 1], plain.running_var)
    u, norm = u.bfloat16(), norm.bfloat16()
    stc_ops.bn_relu(u, batch_norm_of(norm))
    torch.testing.assert_close(norm.running_mean.float(), plain.running_mean, rtol=0.02, atol=0.002)


@pytest.mark.parametrize(
    ("running", "message"),
    [
        ((None, None), "running statistics must be given"),
        ((torch.zeros(C), None), "running_mean and running_var come together"),
        ((torch.zeros(C - 1), torch.ones(C - 1)), "channels"),
    ],
    ids=["none", "one", "short"],
)
def test_a_registered_operator_refuses_what_does_not_fit(running, message):
    with stc_ops.use_backend("cpu"), pytest.raises(RuntimeError, match=message):
        torch.ops.stc_ops.bn_relu_shift_split(
            frames().detach(), None, None, *running, 1e-5, T, C, 0, 1
        )


def test_a_registered_operator_refuses_another_counter():
    running = (torch.zeros(C), torch.ones(C), torch.zeros((), dtype=torch.int32))
    with stc_ops.use_backend("cpu"), pytest.raises(RuntimeError, match="num_batches_tracked"):
        torch.ops.stc_ops.bn_relu_shift_split_training(
            frames().detach(), None, None, *running, 0.1, 1e-5, T, C, 0, 1
        )


def test_the_counter_is_an_integer(backend):
    bn = batch_norm_of(nn.BatchNorm2d(C))._replace(num_batches_tracked=torch.zeros(()))
    with pytest.raises(TypeError, match=r"bn\.num_batches_tracked must be int64 of shape \(\)"):
        stc_ops.bn_relu(frames(), bn)
