"""Synchronized statistics of next to nothing: no process has a frame, or all have one value."""

from __future__ import annotations

import os
import sys
import traceback

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import stc_ops

if not (dist.is_available() and dist.is_gloo_available()):
    pytest.skip("this torch has no gloo", allow_module_level=True)

CHANNELS, T = 4, 2
BACKENDS = ("reference", "cpu")


def batch_norm():
    one = torch.ones(CHANNELS)
    return stc_ops.BatchNorm(
        one.clone().requires_grad_(),
        one.clone().requires_grad_(),
        one * 3,
        one * 5,
        training=True,
        process_group=dist.group.WORLD,
    )


def refine(x, bn):
    gate = torch.ones(CHANNELS, CHANNELS, 3)
    return stc_ops.refine_bn_relu(x, None, bn, T, (gate,))


OPERATORS = {
    "bn_relu": stc_ops.bn_relu,
    "bn_relu_shift": lambda x, bn: stc_ops.bn_relu_shift(x, bn, T),
    "refine_bn_relu": refine,
    "bn_add_relu": lambda x, bn: stc_ops.bn_add_relu(x, bn, x.detach()),
}


def of_no_frames(operator):
    bn, x = batch_norm(), torch.zeros(0, CHANNELS, 3, 3, requires_grad=True)
    operator(x, bn).sum().backward()
    return [bn.running_mean, bn.running_var, bn.weight.grad, bn.bias.grad, x.grad]


def of_one_value(operator, process):
    # A clip of refine's has T frames: there the one process has one value for each of them.
    frames = 0 if process else 1
    try:
        operator(torch.zeros(frames, CHANNELS, 1, 1), batch_norm())
    except ValueError as error:
        return str(error)
    return "no error"


def run(process, folder):
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # the name of the host may lead nowhere
    rendezvous = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=rendezvous, rank=process, world_size=2)
    results = {}
    for backend in BACKENDS:
        with stc_ops.use_backend(backend):
            for name, operator in OPERATORS.items():
                try:
                    results[backend, name] = of_no_frames(operator)
                except Exception:
                    results[backend, name] = traceback.format_exc()
            results[backend, "one value"] = of_one_value(stc_ops.bn_relu, process)
    torch.save(results, f"{folder}/{process}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("few"))
    mp.spawn(run, (folder,), nprocs=2)
    return [torch.load(f"{folder}/{process}.pt") for process in range(2)]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_changes_where_no_process_has_a_frame(results, backend, name):
    for of_process in results:
        assert isinstance(of_process[backend, name], list), of_process[backend, name]
        running_mean, running_var, *gradients = of_process[backend, name]
        assert torch.equal(running_mean, torch.full((CHANNELS,), 3.0))
        assert torch.equal(running_var, torch.full((CHANNELS,), 5.0))
        assert all(not grad.any() for grad in gradients)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_value_of_all_processes_is_refused_by_all(results, backend):
    for of_process in results:
        assert "expected more than 1 value per channel" in of_process[backend, "one value"]
