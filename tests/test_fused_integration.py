"""Every fused operator inside torch.compile, torch.export and autocast."""

from __future__ import annotations

import dataclasses

import torch
from backend_cases import on_compiled_backends
from cases import Clips, every_format
from fused_cases import FUSED, MODES, every_call, make_problem
from fused_oracle import assert_results, check_problem, collect_results, fused_oracle
from torch import nn

import stc_ops

CLIPS = Clips(2, 4, 16, 5, 3)
# One of each way through the operators.
TYPICAL = ["split-stride-2", "bn-relu-shift", "refine", "refine-light", "add", "add-two-norms"]


def compiled(problem, **options):
    """Return `problem` with its operator compiled into one graph."""
    torch._dynamo.reset()
    operator = torch.compile(problem.case.operator, fullgraph=True, **options)
    return dataclasses.replace(problem, case=problem.case._replace(operator=operator))


@every_call({"typical": CLIPS}, TYPICAL, ["training", "frozen"])
def test_compile_fullgraph(backend, case, clips, mode):
    problem = make_problem(case, clips, mode, memory_format=torch.channels_last)
    check_problem(compiled(problem, backend="aot_eager", dynamic=False), backend)


@on_compiled_backends
@every_call({"typical": CLIPS}, ["split", "refine", "add-two-norms"], ["training", "frozen"])
def test_compile_with_a_changing_batch_makes_no_wrong_result(backend, case, clips, mode):
    torch._dynamo.reset()
    operator = torch.compile(case.operator, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch in (2, 3, 5):
        problem = make_problem(case._replace(operator=operator), clips._replace(batch=batch), mode)
        check_problem(problem, backend)


def block(x, norms, gates, num_segments):
    """A residual block of STC without its convolutions."""
    spatial, temporal = stc_ops.bn_relu_shift_split(x, norms[0], (12, 4), num_segments)
    refined = stc_ops.refine_bn_relu(
        torch.tanh(spatial), torch.tanh(temporal), norms[1], num_segments, *gates
    )
    return stc_ops.bn_add_relu(torch.tanh(refined), norms[2], x)


@on_compiled_backends
def test_compile_with_inductor(backend):
    torch._dynamo.reset()
    problem = make_problem(FUSED["refine"], CLIPS, MODES["training"])
    arguments = problem.arguments()
    gates = (arguments["temporal_gate_weights"], arguments["spatial_gate_weights"])
    inputs = [torch.randn(CLIPS.frames, requires_grad=True), *gates[0], *gates[1]]

    def results(function):
        norms = [problem.fresh().batch_norm("bn") for _ in range(3)]
        out = function(inputs[0], norms, gates, CLIPS.num_segments)
        gradients = torch.autograd.grad(out.square().sum(), inputs)
        return [out, *gradients, *(bn.running_mean for bn in norms)]

    expected = results(block)
    actual = results(torch.compile(block, fullgraph=True))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


class Layer(nn.Module):
    """A fused operator with its parameters and running statistics, on frames."""

    def __init__(self, problem) -> None:
        super().__init__()
        self.problem = problem
        self.keys = {}
        for name, tensor in (problem.tensors | problem.statistics).items():
            key = "".join(c if c.isalnum() else "_" for c in name)
            self.keys[name] = key
            if name in problem.statistics:
                self.register_buffer(key, tensor)
            elif name not in problem.frames():
                self.register_parameter(key, nn.Parameter(tensor.detach()))

    def forward(self, *frames):
        given = dict(zip(self.problem.frames(), frames, strict=True))
        own = {name: getattr(self, key) for name, key in self.keys.items() if name not in given}
        tensors = {name: own.get(name, given.get(name)) for name in self.problem.tensors}
        statistics = {name: own[name] for name in self.problem.statistics}
        return dataclasses.replace(self.problem, tensors=tensors, statistics=statistics).outputs()


@every_call({"typical": CLIPS}, modes=["frozen"])
def test_export_with_a_dynamic_batch(backend, case, clips, mode):
    problem = make_problem(case, clips, mode)
    layer = Layer(problem).eval()
    frames = tuple(problem.tensors[name].detach() for name in problem.frames())
    batch = clips.num_segments * torch.export.Dim("clips", min=1, max=64)
    shapes = {"frames": tuple({0: batch} for _ in frames)}
    exported = torch.export.export(layer, frames, dynamic_shapes=shapes)
    more = tuple(torch.randn(5 * clips.num_segments, *each.shape[1:]) for each in frames)
    torch.testing.assert_close(exported.module()(*more), layer(*more))


@every_call({"typical": CLIPS}, modes=["training", "frozen"])
@every_format
def test_autocast(backend, case, clips, mode, memory_format):
    problem = make_problem(case, clips, mode, torch.bfloat16, memory_format)
    expected, gradients = fused_oracle(problem)
    fresh = problem.fresh()
    with torch.autocast(torch.get_default_device().type, dtype=torch.bfloat16):
        outputs = fresh.outputs()
    actual = collect_results(fresh, outputs, gradients)
    for name, result in actual.items():
        frames_like = name.startswith("output") or name[len("gradient of ") :] in problem.frames()
        assert result.dtype == (torch.bfloat16 if frames_like else torch.float32), name
    # Autocast runs the convolutions of the gate networks in 16 bits.
    assert_results(actual, expected, "reference", torch.bfloat16)


@every_call({"typical": CLIPS}, TYPICAL, ["training"])
def test_float32_frames_under_autocast_stay_float32(backend, case, clips, mode):
    problem = make_problem(case, clips, mode)
    with torch.autocast(torch.get_default_device().type, dtype=torch.bfloat16):
        outputs = problem.outputs()
    assert all(each.dtype == torch.float32 for each in outputs)
