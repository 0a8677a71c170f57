"""Fused operators over two processes do what they do in one process on the whole batch."""

from __future__ import annotations

import datetime
import os
import sys
import time
import traceback

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from cases import Clips
from fused_cases import FUSED, MODES, Problem, every_call, make_problem
from fused_oracle import assert_results, collect_results, fused_oracle

import stc_ops

if not (dist.is_available() and dist.is_gloo_available()):
    pytest.skip("this torch has no gloo", allow_module_level=True)

CLIPS = Clips(4, 3, 8, 3, 5)
SHARES = {
    "even": (CLIPS, (2, 2)),
    "uneven": (CLIPS, (3, 1)),
    "all-and-none": (CLIPS, (4, 0)),
    "one-value-each": (Clips(2, 1, 8, 1, 1), (1, 1)),
}
CALLS = {
    f"{name}-{mode}-{str(dtype)[6:]}": (FUSED[name], MODES[mode], dtype)
    for name in FUSED
    for mode, dtype in (
        ("training", torch.float64),
        ("training-bare", torch.float64),
        ("training", torch.float32),
    )
}
COLLECTIVE_TIMEOUT = datetime.timedelta(seconds=60)
SECONDS_FOR_ALL = 180


def whole_batch(call: str, shares: str) -> Problem:
    torch.manual_seed(0)
    case, mode, dtype = CALLS[call]
    clips, _ = SHARES[shares]
    return make_problem(case, clips, mode, dtype, torch.channels_last)


def run_share(process: int, call: str, shares: str) -> dict[str, torch.Tensor]:
    clips, counts = SHARES[shares]
    problem = whole_batch(call, shares)
    _, gradients = fused_oracle(problem)
    first = sum(counts[:process])
    mine = slice(first * clips.num_segments, (first + counts[process]) * clips.num_segments)
    share = problem.map_frames(lambda frames: frames[mine]).synchronized(dist.group.WORLD)
    return collect_results(share, share.outputs(), [each[mine] for each in gradients])


def results_or_error(process: int, call: str, shares: str) -> dict[str, torch.Tensor] | str:
    try:
        return run_share(process, call, shares)
    except Exception:
        return traceback.format_exc()


def run_process(process: int, shares: str, folder: str) -> None:
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # the name of the host may lead nowhere
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=process,
        world_size=2,
        timeout=COLLECTIVE_TIMEOUT,
    )
    results = {}
    for backend in stc_ops.available_backends():
        with stc_ops.use_backend(backend):
            results[backend] = {call: results_or_error(process, call, shares) for call in CALLS}
    torch.save(results, f"{folder}/{process}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=SHARES)
def shares(request):
    return request.param


@pytest.fixture(scope="module")
def results_of_processes(shares, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp(shares))
    processes = mp.start_processes(
        run_process, (shares, folder), nprocs=2, join=False, start_method="spawn"
    )
    deadline = time.monotonic() + SECONDS_FOR_ALL
    try:
        while not processes.join(timeout=1):
            assert time.monotonic() < deadline, "the processes wait for each other"
    finally:
        for process in processes.processes:
            process.kill()
            process.join()
    return [torch.load(f"{folder}/{process}.pt") for process in range(2)]


@pytest.mark.parametrize("backend", stc_ops.available_backends(), indirect=True)
@pytest.mark.parametrize("call", CALLS)
def test_two_processes_do_what_one_does(backend, call, shares, results_of_processes):
    expected, _ = fused_oracle(whole_batch(call, shares))
    of_processes = [results[backend][call] for results in results_of_processes]
    for results in of_processes:
        assert isinstance(results, dict), results
    joined = {}
    for name in expected:
        tensors = [each[name] for each in of_processes]
        if "running" in name:
            assert torch.equal(*tensors), name
            joined[name] = tensors[0]
        elif tensors[0].ndim == 4 and "gate_weights" not in name:
            joined[name] = torch.cat(tensors)
        else:
            joined[name] = sum(tensors)
    assert_results(joined, expected, backend, CALLS[call][2])


@every_call({"even": CLIPS}, modes=["frozen"])
def test_running_statistics_need_no_other_process(backend, case, clips, mode):
    problem = make_problem(case, clips, mode)
    torch.testing.assert_close(problem.synchronized(object()).outputs(), problem.outputs())
