"""What people do with modules: copy, cast, hook, exchange, prune, distribute and optimize them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, prune

import stc_ops
from stc_ops import models

from .agreement import assert_same, assert_same_gradients, assert_same_step, in_four_threads
from .matrix import feature, has_parameters, is_network
from .subjects import Subject, plain

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@feature()
def copies_and_pickles(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames()
    expected = module(frames)
    for copy in (deepcopy(module), pickle.loads(pickle.dumps(module.state_dict()))):
        if isinstance(copy, dict):
            other = subject.build().double().eval()
            other.load_state_dict(copy)
            copy = other
        assert torch.equal(copy(frames), expected)


@feature()
def meta_device(subject: Subject) -> None:
    """Materialized and initialized, layer by layer, as sharded training does."""
    with torch.device("meta"):
        module = subject.build()
    module.to_empty(device="cpu")
    torch.manual_seed(0)
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    expected = dict(subject.build().named_parameters())
    for name, parameter in module.named_parameters():
        if expected[name].numel() <= 1:
            continue
        # Of the same kind as when it was built: constant where that is, or of similar size.
        is_constant = expected[name].std() == 0
        assert (parameter.std() == 0) == is_constant, name
        if is_constant or expected[name].unique().numel() == 2:
            assert torch.equal(parameter, expected[name]), name


@feature(has_parameters)
def autocast(subject: Subject) -> None:
    module, frames = subject.module(torch.float32), subject.frames(dtype=torch.float32)
    exact = plain(deepcopy(module).double())(frames.double())
    twin = plain(module)
    with torch.autocast("cpu", torch.bfloat16):
        out, expected = module(frames), twin(frames)
    # Not worse than plain PyTorch by more than the rounding of a result.
    allowed = 2 * (expected.double() - exact).abs().max() + exact.abs().max() * 2**-7
    assert (out.double() - exact).abs().max() <= allowed
    out.float().square().sum().backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert gradients
    assert all(grad.isfinite().all() for grad in gradients)


@feature(has_parameters)
def gradient_scaling(subject: Subject) -> None:
    module, frames = subject.module(torch.float32), subject.frames(dtype=torch.float32)
    exact = plain(module)
    exact(frames).square().mean().backward()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    scaler.scale(module(frames).square().mean()).backward()
    scaler.unscale_(optimizer)
    assert_same_gradients(module, exact.module)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**10


def _changeable(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Owner, name and layer of all layers that are called; of a network's blocks, of the first."""
    for path, owner in list(module.named_modules()):
        if isinstance(owner, nn.ModuleList) or path.startswith(("layer2", "layer3", "layer4")):
            continue
        for name, layer in owner.named_children():
            if not isinstance(layer, nn.ModuleList) and name not in _FUSED_ONLY:
                yield owner, name, layer


# They run only where the layers that they stand for do not.
_FUSED_ONLY = ("bn_relu", "bn_add_relu", "layer")


def _louder(module: nn.Module, arguments: tuple, out: torch.Tensor) -> torch.Tensor | None:
    return out * 1.5 if isinstance(out, torch.Tensor) else None


@feature()
def forward_hooks(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames()
    for _, name, layer in list(_changeable(module)):
        hook = layer.register_forward_hook(_louder)
        assert_same(module(frames), plain(module)(frames), name)
        hook.remove()


@feature()
def forward_pre_hooks_and_backward_hooks(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames()
    # PyTorch refuses to change in place what a backward hook has seen.
    for layer in module.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    for _, name, layer in list(_changeable(module)):
        hooks = [
            layer.register_forward_pre_hook(lambda _, arguments: (arguments[0] * 1.5,)),
            layer.register_full_backward_hook(
                lambda _, grads, of_out: tuple(g if g is None else g * 2 for g in grads)
            ),
        ]
        twin = plain(module)
        given, others = frames.clone().requires_grad_(), frames.clone().requires_grad_()
        (grad,) = torch.autograd.grad(module(given).sum(), given)
        (expected,) = torch.autograd.grad(twin(others).sum(), others)
        assert_same(grad, expected, name)
        for hook in hooks:
            hook.remove()


class Louder(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *arguments: torch.Tensor) -> torch.Tensor:
        return self.inner(*arguments) * 1.5


@feature()
def exchanged_layers(subject: Subject) -> None:
    """By layers of somebody's own: as layer by layer, and optimized alike or refused."""
    module, frames = subject.module(), subject.frames()
    for owner, name, layer in list(_changeable(module)):
        setattr(owner, name, Louder(layer).eval())
        expected = plain(module)(frames)
        assert_same(module(frames), expected, name)
        if subject.is_network:
            _assert_optimized_or_refused(module, frames, expected)
        setattr(owner, name, layer)


def _assert_optimized_or_refused(
    module: nn.Module, frames: torch.Tensor, expected: torch.Tensor
) -> None:
    optimized = _unless_refused(stc_ops.optimize_for_inference, module)
    if optimized is not None:
        assert_same(optimized(frames), expected)


def _unless_refused(
    optimize: Callable[[nn.Module], nn.Module], module: nn.Module
) -> nn.Module | None:
    try:
        return optimize(module)
    except TypeError as error:
        if not str(error).startswith("optimize_for_inference: "):
            raise
        return None


@feature(is_network)
def another_activation(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames()
    for owner in list(module.modules()):
        for name, layer in list(owner.named_children()):
            if isinstance(layer, nn.ReLU):
                setattr(owner, name, nn.SiLU().eval())
    expected = plain(module)(frames)
    assert_same(module(frames), expected)
    _assert_optimized_or_refused(module, frames, expected)


@feature(is_network)
def other_normalizations(subject: Subject) -> None:
    for other in (
        lambda norm: nn.GroupNorm(1, norm.num_features).double().eval(),
        lambda _: nn.Identity().eval(),
    ):
        module, frames = subject.module(), subject.frames()
        for owner in list(module.modules()):
            for name, layer in list(owner.named_children()):
                if isinstance(layer, nn.BatchNorm2d):
                    setattr(owner, name, other(layer))
        expected = plain(module)(frames)
        assert_same(module(frames), expected)
        _assert_optimized_or_refused(module, frames, expected)


@feature(has_parameters)
def pruning(subject: Subject) -> None:
    # A pruned layer cannot be copied: both are pruned alike.
    module, frames = subject.module(), subject.frames()
    twin = plain(module)
    for each in (module, twin.module):
        for layer in each.modules():
            if isinstance(layer, (*CONVOLUTIONS, nn.BatchNorm2d)):
                prune.l1_unstructured(layer, "weight", 0.3)
    assert_same(module(frames), twin(frames))


@feature(has_parameters)
def weight_normalization(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames()
    for layer in list(module.modules()):
        if isinstance(layer, CONVOLUTIONS):
            parametrizations.weight_norm(layer)
    twin = plain(module.eval())
    assert_same_step(module, twin, [frames])
    if subject.is_network:
        _assert_optimized_or_refused(module, frames, twin(frames))


@feature()
def threads(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames()
    expected = module(frames)

    def run() -> None:
        for _ in range(3):
            assert torch.equal(module(frames), expected)

    in_four_threads(run)


@feature(has_parameters)
def sharded_data_parallel(subject: Subject) -> None:
    """FSDP2, of the network and of its middle layers."""
    module, frames = subject.module(torch.float32).train(), subject.frames(dtype=torch.float32)
    twin = plain(module)
    for layer in module.modules():
        if isinstance(layer, models.Bottleneck):
            fully_shard(layer.conv2)
    fully_shard(module)
    out, expected = module(frames), twin(frames)
    assert_same(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    for (name, parameter), other in zip(
        module.named_parameters(), twin.module.parameters(), strict=True
    ):
        size = other.grad.abs().max().clamp(min=1e-3)
        assert_same(parameter.grad.full_tensor() / size, other.grad / size, name)


@feature(has_parameters)
def distributed_data_parallel(subject: Subject) -> None:
    module, frames = subject.module().train(), subject.frames()
    twin = plain(module)
    DistributedDataParallel(module)(frames).square().sum().backward()
    twin(frames).square().sum().backward()
    assert_same_gradients(module, twin.module)


@feature(is_network)
def optimized_for_inference(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames()
    state = torch.get_rng_state()
    optimized = stc_ops.optimize_for_inference(module)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(optimized(frames), plain(module)(frames))
    other = stc_ops.optimize_for_inference(subject.module().apply(_moved))
    other.load_state_dict(optimized.state_dict())
    assert torch.equal(other(frames), optimized(frames))


@torch.no_grad()
def _moved(layer: nn.Module) -> None:
    for parameter in layer.parameters(recurse=False):
        parameter.add_(0.1)


@feature(is_network)
def any_number_of_segments(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames(4)
    if any(getattr(layer, "has_weights_of_segments", False) for layer in module.modules()):
        with pytest.raises(ValueError, match="has weights for each frame of a clip"):
            module.num_segments = 8
        return
    module.num_segments = 8
    assert module(frames).shape == (2, 5)
    assert_same(module(frames), plain(module)(frames))
    assert torch.equal(module(frames.unflatten(0, (2, 8))), module(frames))
