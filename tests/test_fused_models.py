"""Networks with fused operators: the same parameters, arithmetic and state as layer by layer."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from cases import every_format, every_low_dtype
from comparisons import Tolerance, assert_close, assert_no_less_accurate
from small_networks import (
    CLASSES,
    NETWORKS,
    SIZE,
    T,
    assert_accurate,
    assert_same_step,
    every_network,
    norms_of,
    random_clips,
    small,
    unfused_copy,
)
from torch import nn
from torch.overrides import TorchFunctionMode

import stc_ops
from stc_ops.cost import cost
from stc_ops.models import (
    Bottleneck,
    stc_light_resnet50,
    stc_resnet50,
    tsm_resnet50,
    tsn_resnet50,
    video_resnet,
)

every_mode = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
BUILDERS = [stc_resnet50, stc_light_resnet50, tsn_resnet50, tsm_resnet50]


@pytest.fixture(autouse=True)
def kernels():
    """The reference backend never runs the fused operators."""
    with stc_ops.use_backend("cpu"):
        yield


class _Norms(TorchFunctionMode):
    """Counts the batch norms of PyTorch that run."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.count += function is nn.functional.batch_norm
        return function(*args, **(kwargs or {}))


def norms_called(model, frames):
    """How many batch norms the forward of `model` calls, seen by no hook, which would change it."""
    with _Norms() as norms:
        model(frames)
    return norms.count


@every_format
@every_mode
@every_network
def test_fused_networks_compute_the_same(build, training, memory_format):
    model = small(build, dropout=0.0).train(training).to(memory_format=memory_format)
    frames = random_clips().contiguous(memory_format=memory_format)
    assert norms_called(model, frames) == 0
    plain = unfused_copy(model)
    assert norms_called(plain, frames) == len(norms_of(plain))
    plain.load_state_dict(model.state_dict())
    assert_same_step(model, plain, frames)
    assert {norm.num_batches_tracked.item() for norm in norms_of(model)} == {2 * training}


@every_mode
def test_gradients_of_two_parameters_share_no_memory(training):
    model = small(NETWORKS["stc-light"]).train(training)
    model(random_clips()).sum().backward()
    gradients = [p.grad for p in model.parameters()]
    # What is done in place to one gradient, as accumulation and clipping do, must not reach others.
    assert len({gradient.data_ptr() for gradient in gradients}) == len(gradients)


@pytest.mark.parametrize("build", [NETWORKS["stc-light"], NETWORKS["tsm"]], ids=["stc", "tsm"])
def test_three_steps_of_training_give_the_same_weights(build):
    model = small(build, dropout=0.0).train()
    plain = unfused_copy(model)
    initial = deepcopy(model.state_dict())
    batches = [random_clips() for _ in range(3)]
    labels = torch.randint(CLASSES, (3, 2))
    for network in (model, plain):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        for frames, label in zip(batches, labels, strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(frames), label).backward()
            optimizer.step()
    assert all((p - initial[name]).abs().max() > 1e-6 for name, p in model.named_parameters())
    assert_close(model.state_dict(), plain.state_dict(), Tolerance(1e-8, 1e-8))


def test_partial_batch_norm():
    model = small(NETWORKS["stc"], dropout=0.0).train()
    _, *frozen = norms_of(model)
    for norm in frozen:
        norm.eval().requires_grad_(False)
    before = deepcopy([norm.state_dict() for norm in frozen])
    plain, frames = unfused_copy(model), random_clips()
    assert_same_step(model, plain, frames)
    for norm, state in zip(frozen, before, strict=True):
        torch.testing.assert_close(norm.state_dict(), state, rtol=0, atol=0)
    assert model.bn1.num_batches_tracked == 1


@pytest.mark.parametrize("momentum", [None, 0.3])
def test_momentum(momentum):
    model = small(NETWORKS["stc"], dropout=0.0).train()
    for norm in norms_of(model):
        norm.momentum = momentum
    plain, before = unfused_copy(model), model.bn1.running_mean.clone()
    means = []
    for _ in range(2):
        frames = random_clips()
        means.append(model.conv1(frames).mean((0, 2, 3)))
        assert_same_step(model, plain, frames)
    expected = sum(means) / 2
    if momentum is not None:
        expected = 0.7 * (0.7 * before + 0.3 * means[0]) + 0.3 * means[1]
    torch.testing.assert_close(model.bn1.running_mean, expected.detach())


@every_mode
def test_synchronized_batch_norm_of_one_process(training):
    model = small(NETWORKS["stc"], dropout=0.0)
    expected = deepcopy(model.state_dict())
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model).train(training)
    torch.testing.assert_close(model.state_dict(), expected, rtol=0, atol=0)
    frames = random_clips()
    assert norms_called(model, frames) == 0
    assert_same_step(model, unfused_copy(model), frames)


@every_network
def test_parameters_and_state_do_not_depend_on_the_switch(build):
    torch.manual_seed(0)
    fused = build(CLASSES, T, **SIZE)
    torch.manual_seed(0)
    plain = build(CLASSES, T, **SIZE, fused=False)
    assert fused.fused
    assert not plain.fused
    assert list(fused.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(fused.state_dict(), plain.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("builder", BUILDERS)
def test_builders_pass_the_switch_on_to_all_blocks(builder):
    for fused in (True, False):
        with torch.device("meta"):
            model = builder(fused=fused)
        blocks = [module for module in model.modules() if isinstance(module, Bottleneck)]
        assert len(blocks) == 16
        assert {block.fused for block in blocks} == {model.fused} == {fused}


def test_switch_can_be_set_at_any_time():
    model, frames = small(NETWORKS["stc"]), random_clips()
    model.fused = False
    assert norms_called(model, frames) == len(norms_of(model))
    model.fused = True
    assert norms_called(model, frames) == 0
    model.layer1[0].fused = False
    assert norms_called(model, frames) == 4


def test_reference_backend_runs_every_layer():
    model, frames = small(NETWORKS["stc"]), random_clips()
    with stc_ops.use_backend("reference"):
        assert norms_called(model, frames) == len(norms_of(model))


@pytest.mark.parametrize("builder", BUILDERS)
def test_cost_does_not_depend_on_the_switch(builder):
    with torch.device("meta"):
        fused, plain = builder(), builder(fused=False)
    assert cost(fused, (8, 3, 64, 64)) == cost(plain, (8, 3, 64, 64))
    assert fused.fused


def test_block_may_have_any_middle_layer():
    def middle(width, num_segments, stride):
        return nn.Sequential(nn.Conv2d(width, width, 1, stride), nn.GELU())

    model = small(lambda *args, **rest: video_resnet(middle, *args, **rest), dropout=0.0).train()
    frames = random_clips()
    assert_same_step(model, unfused_copy(model), frames)


def test_other_normalizations_run_unfused():
    model, frames = small(NETWORKS["stc"], dropout=0.0), random_clips()
    model.layer2[0].bn2 = nn.GroupNorm(1, 16).double()
    torch.testing.assert_close(model(frames), unfused_copy(model)(frames))
    # Batch norms, all others, are absorbed.
    assert norms_called(model, frames) == 0


@every_mode
def test_fused_network_compiles_as_one_graph(training):
    model = small(NETWORKS["stc-light"], dropout=0.0).train(training)
    eager = deepcopy(model)
    model.compile(fullgraph=True, backend="aot_eager")
    for _ in range(2):
        assert_same_step(model, eager, random_clips())


@every_format
def test_fused_network_exports_with_any_number_of_clips(memory_format):
    model = small(NETWORKS["stc"]).to(memory_format=memory_format)
    clips = torch.export.Dim("clips")
    frames = random_clips().contiguous(memory_format=memory_format)
    exported = torch.export.export(model, (frames,), dynamic_shapes=({0: T * clips},)).module()
    for count in (2, 3):
        frames = random_clips(clips=count).contiguous(memory_format=memory_format)
        torch.testing.assert_close(exported(frames), unfused_copy(model)(frames))


@every_low_dtype
@pytest.mark.parametrize("name", ["stc", "stc-light", "tsm"])
def test_fused_network_under_autocast(name, dtype):
    model, frames = small(NETWORKS[name], torch.float32), random_clips(16, dtype=torch.float32)
    with torch.autocast("cpu", dtype):
        out = model(frames)
    assert_accurate(out, model, frames)


@every_mode
def test_fused_network_under_autocast_trains(training):
    model = small(NETWORKS["stc-light"], torch.float32, dropout=0.0).train(training)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(random_clips(dtype=torch.float32))
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


@every_low_dtype
@pytest.mark.parametrize("index", [0, 1], ids=["of-a-stage", "inner"])
def test_block_of_wide_frames_under_autocast(index, dtype):
    block = small(NETWORKS["stc"], torch.float32).layer1[index]
    x = torch.randn(16 * T, block.conv1.in_channels, 6, 6).bfloat16().float()
    plain = unfused_copy(block)
    exact = deepcopy(plain).double()(x.double())
    with torch.autocast("cpu", dtype):
        assert_no_less_accurate(block(x).to(dtype), plain(x).to(dtype), exact)
