"""Batch norm modules behind fused operators keep the semantics that their own forward has."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.distributed as dist
from torch import nn

import stc_ops
from stc_ops.nn import batch_norm_of

CHANNELS = 6


def without_bias():
    module = nn.BatchNorm2d(CHANNELS)
    module.register_parameter("bias", None)
    return module


def no_longer_tracked():
    module = nn.BatchNorm2d(CHANNELS)
    nn.init.normal_(module.running_mean)
    module.track_running_stats = False
    return module


def without_counter():
    module = nn.BatchNorm2d(CHANNELS)
    module.num_batches_tracked = None
    return module


MODULES = {
    "default": partial(nn.BatchNorm2d, CHANNELS),
    "momentum": partial(nn.BatchNorm2d, CHANNELS, momentum=0.7, eps=0.3),
    "momentum-0": partial(nn.BatchNorm2d, CHANNELS, momentum=0.0),
    "cumulative": partial(nn.BatchNorm2d, CHANNELS, momentum=None),
    "not-affine": partial(nn.BatchNorm2d, CHANNELS, affine=False),
    "no-bias": without_bias,
    "never-tracked": partial(nn.BatchNorm2d, CHANNELS, track_running_stats=False),
    "no-longer-tracked": no_longer_tracked,
    "no-counter": without_counter,
    "sync": partial(nn.SyncBatchNorm, CHANNELS),
    "sync-cumulative": partial(nn.SyncBatchNorm, CHANNELS, momentum=None),
    "sync-never-tracked": partial(nn.SyncBatchNorm, CHANNELS, track_running_stats=False),
}


@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES.keys())
def test_outputs_and_state_are_those_of_the_module(backend, build):
    module = build().double()
    plain = deepcopy(module)
    for training in (True, True, False, True, True, False):
        u = torch.randn(4, CHANNELS, 3, 2, dtype=torch.float64) * 2 + 1
        out = stc_ops.bn_relu(u, batch_norm_of(module.train(training)))
        expected = plain.train(training)(u).relu()
        torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(module.state_dict(), plain.state_dict(), rtol=1e-12, atol=1e-12)


def test_cumulative_average_is_the_mean_over_batches(backend):
    module = nn.BatchNorm2d(CHANNELS, momentum=None).double()
    batches = torch.randn(3, 4, CHANNELS, 3, 2, dtype=torch.float64)
    for u in batches:
        stc_ops.bn_relu(u, batch_norm_of(module))
    assert module.num_batches_tracked == 3
    torch.testing.assert_close(module.running_mean, batches.mean((0, 1, 3, 4)))
    variances = torch.stack([u.transpose(0, 1).flatten(1).var(1) for u in batches])
    torch.testing.assert_close(module.running_var, variances.mean(0))


def test_momentum_weighs_the_new_batch(backend):
    module = nn.BatchNorm2d(CHANNELS, momentum=0.25).double()
    u = torch.randn(4, CHANNELS, 3, 2, dtype=torch.float64)
    stc_ops.bn_relu(u, batch_norm_of(module))
    torch.testing.assert_close(module.running_mean, 0.25 * u.mean((0, 2, 3)))


@pytest.mark.parametrize(
    "module",
    [nn.BatchNorm1d(4), nn.BatchNorm3d(4), nn.GroupNorm(1, 4), nn.Identity(), None],
    ids=lambda module: type(module).__name__,
)
def test_other_modules_are_refused(module):
    with pytest.raises(
        TypeError,
        match=r"batch_norm_of: module must be nn.BatchNorm2d or nn.SyncBatchNorm, "
        f"got {type(module).__name__}",
    ):
        batch_norm_of(module)


def test_compiles_as_one_graph(backend):
    module = nn.BatchNorm2d(CHANNELS).double()
    plain = deepcopy(module)
    compiled = torch.compile(
        lambda u: stc_ops.bn_relu(u, batch_norm_of(module)), fullgraph=True, backend="aot_eager"
    )
    for _ in range(2):
        u = torch.randn(4, CHANNELS, 3, 2, dtype=torch.float64)
        torch.testing.assert_close(compiled(u), plain(u).relu())
    torch.testing.assert_close(module.state_dict(), plain.state_dict())


@pytest.fixture
def one_process():
    if not dist.is_available():
        pytest.skip("this torch has no torch.distributed")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def two_processes(one_process, monkeypatch):
    """What batch_norm_of asks about, as if the one process had another beside it."""
    monkeypatch.setattr(dist, "get_world_size", lambda group: 2)


def test_one_process_does_not_synchronize(one_process):
    assert batch_norm_of(nn.SyncBatchNorm(CHANNELS)).process_group is None


def test_several_processes_synchronize_while_training(two_processes):
    module = nn.SyncBatchNorm(CHANNELS)
    assert batch_norm_of(module).process_group is dist.group.WORLD
    assert batch_norm_of(module.eval()).process_group is None
    assert batch_norm_of(nn.BatchNorm2d(CHANNELS)).process_group is None


def test_a_group_of_its_own_comes_before_the_world(two_processes):
    group = dist.new_group([0])
    module = nn.SyncBatchNorm(CHANNELS, process_group=group)
    assert batch_norm_of(module).process_group is group


def test_batch_statistics_in_evaluation_are_not_synchronized(two_processes):
    module = nn.SyncBatchNorm(CHANNELS, track_running_stats=False).eval()
    norm = batch_norm_of(module)
    assert norm.training
    assert norm.process_group is None
