"""What `stc-ops bench models` runs: networks, their steps, and the proof that all agree."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from stc_ops.backends import use_backend
from stc_ops.cost import Cost, cost
from stc_ops.measuring import relative_difference, saved_bytes
from stc_ops.models import NETWORKS, VideoResNet, optimize_for_inference
from stc_ops.models.bottleneck import Bottleneck

from .errors import CommandError

OPTIMIZED, FUSED, REFERENCE = "optimized", "fused", "reference"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Something-Something V1
CLASSES = 174
RANDOM_SEED = 0
# Pixels of the frames over those of the last stage, in height and width.
REDUCTION = 32
# Two values have no gradient at all once they are normalized.
FEWEST_VALUES = 8
# Of what a block adds to its input. With the usual 1, gradients at the end of fifty layers of
# random weights are chaotic: those of the reference in bfloat16 are 1.3 of their norm from those in
# float32, as far as if they had nothing in common.
RESIDUAL_WEIGHT = 0.2

CONTEXTS = {
    FUSED: contextlib.nullcontext,
    REFERENCE: functools.partial(use_backend, "reference"),
}

Step = Callable[[], list[torch.Tensor]]
Result = TypeVar("Result")


class Setting(NamedTuple):
    """What networks are run on: clips of ``num_segments`` frames of ``size x size`` pixels."""

    num_segments: int = 8
    clips: int = 1
    size: int = 224
    dtype: str = "float32"
    device: str = "cpu"


class Tolerance(NamedTuple):
    """How far logits and losses, and gradients, may be from the reference's.

    All values together, relative to their norm.
    """

    result: float
    gradient: float


# Found on a CPU, with clips of 8 frames of 112 x 112: 2e-7 and 0.002 in float32, 0.006 and 0.11 in
# bfloat16; 0.43 where the last stage has 8 values of a channel. Gradients differ by so much
# because where the argument of a ReLU is zero but for rounding, one has a gradient, one has none.
TOLERANCES = {"float32": Tolerance(1e-4, 0.02), "bfloat16": Tolerance(0.03, 0.6)}


def check_trainable(setting: Setting) -> None:
    """Raise a `CommandError` where batch norms would have too few values to normalize."""
    edge = -(-setting.size // REDUCTION)
    values = setting.clips * setting.num_segments * edge**2
    if values < FEWEST_VALUES:
        raise CommandError(
            "training needs larger or more frames: batch norms of the last stage have "
            f"{values} values of a channel, and below {FEWEST_VALUES} gradients are but rounding"
        )


def cost_of(name: str, setting: Setting) -> Cost:
    """Return parameters, and multiply-accumulates of one clip, without weights or arithmetic."""
    with torch.device("meta"):
        model = NETWORKS[name].builder(num_classes=CLASSES, num_segments=setting.num_segments)
    return cost(model, (setting.num_segments, 3, setting.size, setting.size))


def build(name: str, setting: Setting) -> VideoResNet:
    """Build a network of random weights, the same every time, that drops nothing out."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(RANDOM_SEED)
        model = NETWORKS[name].builder(num_classes=CLASSES, num_segments=setting.num_segments)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            # Random, so results could not be compared.
            module.p = 0.0
        if isinstance(module, Bottleneck):
            nn.init.constant_(module.bn3.weight, RESIDUAL_WEIGHT)
    model = model.to(setting.device, DTYPES[setting.dtype])
    return model.to(memory_format=torch.channels_last)


def random_frames(setting: Setting) -> torch.Tensor:
    """Return frames, the same every time, in channels_last."""
    shape = (setting.clips * setting.num_segments, 3, setting.size, setting.size)
    frames = torch.randn(shape, generator=torch.Generator().manual_seed(RANDOM_SEED))
    frames = frames.to(setting.device, DTYPES[setting.dtype])
    return frames.contiguous(memory_format=torch.channels_last)


def evaluations(model: VideoResNet, frames: torch.Tensor) -> dict[str, Step]:
    """Return a forward of each variant, which gives the logits; `model` stays in that mode."""
    optimized = optimize_for_inference(model.eval())
    return {
        OPTIMIZED: functools.partial(_evaluate, optimized, frames),
        **_in_contexts(functools.partial(_evaluate, model, frames)),
    }


def trainings(model: VideoResNet, frames: torch.Tensor) -> dict[str, Step]:
    """Return a training step of each variant, which gives loss and gradients, in that mode."""
    return _in_contexts(functools.partial(_train, model.train(), frames))


def saved_bytes_of(model: VideoResNet, frames: torch.Tensor) -> dict[str, int]:
    """Return what a training forward of each variant saves for backward, beside parameters."""
    forwards = _in_contexts(functools.partial(saved_bytes, model.train(), frames))
    return {variant: forward() for variant, forward in forwards.items()}


def verify(name: str, steps: Mapping[str, Step], tolerance: Tolerance) -> None:
    """Raise a `CommandError` unless all variants compute what the reference does."""
    result, *gradients = steps[REFERENCE]()
    for variant in (each for each in steps if each != REFERENCE):
        got, *got_gradients = steps[variant]()
        _verify_norm(f"'{name}', {variant}: the result", [got], [result], tolerance.result)
        if gradients:
            what = f"'{name}', {variant}: the gradient"
            _verify_norm(what, got_gradients, gradients, tolerance.gradient)


def _verify_norm(
    what: str, actual: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float
) -> None:
    difference = relative_difference(actual, expected)
    # NaN is no more right than what is too far.
    if not difference <= tolerance:
        raise CommandError(
            f"{what} differs from the reference's by {difference:.3g} of its norm, "
            f"and {tolerance:g} is allowed"
        )


def _in_contexts(function: Callable[[], Result]) -> dict[str, Callable[[], Result]]:
    return {variant: _within(context, function) for variant, context in CONTEXTS.items()}


def _within(
    context: Callable[[], AbstractContextManager[None]], function: Callable[[], Result]
) -> Callable[[], Result]:
    def run() -> Result:
        with context():
            return function()

    return run


def _evaluate(model: nn.Module, frames: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return [model(frames)]


def _train(model: nn.Module, frames: torch.Tensor) -> list[torch.Tensor]:
    """Return loss and gradients of a step without an optimizer, and leave none in `model`."""
    logits = model(frames)
    loss = F.cross_entropy(logits, torch.arange(len(logits), device=logits.device) % CLASSES)
    loss.backward()
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    model.zero_grad(set_to_none=True)
    return [loss.detach(), *gradients]
