"""What records modules: torch.compile, torch.export, torch.fx, torch.jit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import nn

import stc_ops

from .agreement import assert_same, assert_same_gradients
from .matrix import compiles_soon, feature, is_network
from .subjects import CHANNELS, Subject, T, plain


def _compiled(module: nn.Module, **options: object) -> Callable[..., torch.Tensor]:
    torch._dynamo.reset()
    # What the compiler makes of a graph, not code for it, which no layer here changes.
    return torch.compile(module, fullgraph=True, backend="eager", **options)


def _assert_compiles(module: nn.Module, frames: torch.Tensor, mode: AbstractContextManager) -> None:
    twin = plain(module)
    with mode:
        assert_same(_compiled(module, dynamic=False)(frames), twin(frames))


@feature()
def compile_for_inference(subject: Subject) -> None:
    _assert_compiles(subject.module(), subject.frames(), torch.no_grad())


@feature(compiles_soon)
def compile_with_frozen_parameters(subject: Subject) -> None:
    frozen = subject.module().requires_grad_(False)
    _assert_compiles(frozen, subject.frames(), nullcontext())


@feature()
def compile_for_training(subject: Subject) -> None:
    module = subject.module().train()
    twin, frames = plain(module), subject.frames().requires_grad_()
    out, expected = _compiled(module, dynamic=False)(frames), twin(frames)
    assert_same(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    assert_same_gradients(module, twin.module)


@feature(compiles_soon)
def compile_with_dynamic_shapes(subject: Subject) -> None:
    module = subject.module()
    compiled, twin = _compiled(module, dynamic=True), plain(module)
    with torch.no_grad():
        for clips in (2, 3):
            frames = subject.frames(clips)
            assert_same(compiled(frames), twin(frames))


def _exported(subject: Subject, module: nn.Module, strict: bool, sizes: bool) -> nn.Module:
    dynamic = {0: T * torch.export.Dim("clips", min=1, max=64)}
    if sizes:
        # Networks see nothing of a size below that at which a stage has two pixels.
        smallest = 34 if subject.is_network else 3
        names = {2: "height", 3: "width"}
        dynamic |= {axis: torch.export.Dim(names[axis], min=smallest, max=256) for axis in names}
    arguments, shapes = (subject.frames(),), (dynamic,)
    return torch.export.export(module, arguments, dynamic_shapes=shapes, strict=strict).module()


@feature()
def export_with_any_size(subject: Subject) -> None:
    module = subject.module()
    exported, twin = _exported(subject, module, strict=False, sizes=True), plain(module)
    height, width = subject.shape[2:]
    other = torch.randn(3 * T, subject.shape[1], height + 3, width + 2, dtype=torch.float64)
    for frames in (subject.frames(), other):
        assert_same(exported(frames), twin(frames))


@feature(compiles_soon)
def strict_export(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames(3)
    exported = _exported(subject, module, strict=True, sizes=False)
    assert_same(exported(frames), plain(module)(frames))


@feature()
def fx_symbolic_trace(subject: Subject) -> None:
    channels = subject.shape[1]
    layers = [subject.module()]
    if not subject.is_network:
        layers.insert(0, nn.Conv2d(channels, CHANNELS, 1).double())
    module = nn.Sequential(*layers)
    traced, frames = torch.fx.symbolic_trace(module), subject.frames()
    assert_same(traced(frames), plain(module)(frames))


@feature(is_network)
def fx_symbolic_trace_when_optimized(subject: Subject) -> None:
    optimized = stc_ops.optimize_for_inference(subject.module())
    frames, traced = subject.frames(), torch.fx.symbolic_trace(optimized)
    assert_same(traced(frames), optimized(frames))


@feature(is_network)
def jit_trace(subject: Subject) -> None:
    module, frames = subject.module(), subject.frames()
    with pytest.raises(RuntimeError, match=r"network\.fused = False"):
        torch.jit.trace(module, frames, check_trace=False)
    module.fused = False
    traced = torch.jit.trace(module, frames, check_trace=False)
    assert_same(traced(frames + 1), plain(module)(frames + 1))
