"""What `stc-ops bench models` runs: networks, their steps, and the proof that all agree."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from stc_ops.backends import use_backend
from stc_ops.cost import Cost, cost
from stc_ops.measuring import NamedTensors, Tolerance, first_difference, saved_bytes
from stc_ops.models import NETWORKS, VideoResNet, optimize_for_inference
from stc_ops.models.bottleneck import Bottleneck
from stc_ops.torch_internals import dropout_type

from .errors import CommandError

OPTIMIZED, FUSED, REFERENCE = "optimized", "fused", "reference"
GRADIENT_OF = "the gradient of "
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Something-Something V1
CLASSES = 174
RANDOM_SEED = 0
# Pixels of the frames over those of the last stage, in height and width.
REDUCTION = 32
# Two values have no gradient at all once they are normalized, and the fewer there are, the more a
# gradient depends on the rounding of each.
FEWEST_VALUES = {"float32": 8, "bfloat16": 32}
# Of what a block adds to its input. With the usual 1, gradients at the end of fifty layers of
# random weights are chaotic: those of the reference in bfloat16 are 1.3 of their norm from those in
# float32, as far as if they had nothing in common.
RESIDUAL_WEIGHT = 0.2

CONTEXTS = {
    FUSED: contextlib.nullcontext,
    REFERENCE: functools.partial(use_backend, "reference"),
}

Step = Callable[[], NamedTensors]
Result = TypeVar("Result")


class Steps(NamedTuple):
    """One step of a network, by every variant.

    Attributes:
        variants: the step by each of them, the reference last.
        exact: the reference's in float32.
    """

    variants: Mapping[str, Step]
    exact: Step


class Setting(NamedTuple):
    """What networks are run on: clips of ``num_segments`` frames of ``size x size`` pixels."""

    num_segments: int = 8
    clips: int = 1
    size: int = 224
    dtype: str = "float32"
    device: str = "cpu"


class Tolerances(NamedTuple):
    """How far each result, and the gradient of each parameter, may be from the exact one."""

    result: Tolerance
    gradient: Tolerance


# Gradients differ by so much because where the argument of a ReLU is zero but for rounding, one has
# a gradient and one has none. In bfloat16 those of plain PyTorch are up to 0.6 of their norm from
# those in float32, so how far others may be follows from how far these are. Found on a CPU, with
# clips of 8 frames of 64 to 112 pixels: in float32 2e-7 for results and 0.02 for the worst
# gradient, in bfloat16 1.8 and 1.7 times as far as plain PyTorch. Without the shift of STC results
# are 0.006 off, in small networks.
TOLERANCES = {
    "float32": Tolerances(Tolerance(1e-5, 0), Tolerance(0.05, 0)),
    "bfloat16": Tolerances(Tolerance(2**-9, 2), Tolerance(2**-6, 2)),
}


def check_trainable(setting: Setting) -> None:
    """Raise a `CommandError` where batch norms would have too few values to normalize."""
    edge = -(-setting.size // REDUCTION)
    values = setting.clips * setting.num_segments * edge**2
    fewest = FEWEST_VALUES[setting.dtype]
    if values < fewest:
        raise CommandError(
            "training needs larger or more frames: batch norms of the last stage have "
            f"{values} values of a channel, and below {fewest} {setting.dtype} gives gradients "
            "that are but rounding"
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
        if isinstance(module, dropout_type()):
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


def evaluations(model: VideoResNet, frames: torch.Tensor) -> Steps:
    """Return forwards, which give the logits; `model` stays in that mode."""
    optimized = optimize_for_inference(model.eval())
    variants = {OPTIMIZED: functools.partial(_evaluate, optimized, frames)}
    return _steps(_evaluate, model, frames, variants)


def trainings(model: VideoResNet, frames: torch.Tensor) -> Steps:
    """Return training steps, which give loss and gradients; `model` stays in that mode."""
    return _steps(_train, model.train(), frames)


def _steps(
    step: Callable[[nn.Module, torch.Tensor], NamedTensors],
    model: VideoResNet,
    frames: torch.Tensor,
    variants: Mapping[str, Step] = MappingProxyType({}),
) -> Steps:
    variants = {**variants, **_in_contexts(functools.partial(step, model, frames))}
    if frames.dtype == torch.float32:
        return Steps(variants, variants[REFERENCE])

    def run_in_float32() -> NamedTensors:
        return step(copy.deepcopy(model).float(), frames.float())

    return Steps(variants, _within(CONTEXTS[REFERENCE], run_in_float32))


def saved_bytes_of(model: VideoResNet, frames: torch.Tensor) -> dict[str, int]:
    """Return what a training forward of each variant saves for backward, beside parameters."""
    forwards = _in_contexts(functools.partial(saved_bytes, model.train(), frames))
    return {variant: forward() for variant, forward in forwards.items()}


def verify(name: str, steps: Steps, tolerances: Tolerances) -> None:
    """Raise a `CommandError` unless each result of each variant is what the reference computes."""
    plain = steps.variants[REFERENCE]()
    exact = plain if steps.exact is steps.variants[REFERENCE] else steps.exact()
    for variant in (each for each in steps.variants if each != REFERENCE):
        actual = steps.variants[variant]()
        for tolerance, gradients in zip(tolerances, (False, True), strict=True):
            parts = (_those(each, gradients) for each in (actual, exact, plain))
            if difference := first_difference(*parts, tolerance):
                raise CommandError(f"'{name}', {variant}: differs from the reference: {difference}")


def _those(results: NamedTensors, gradients: bool) -> NamedTensors:
    return {
        name: each for name, each in results.items() if name.startswith(GRADIENT_OF) == gradients
    }


def _in_contexts(function: Callable[[], Result]) -> dict[str, Callable[[], Result]]:
    return {variant: _within(context, function) for variant, context in CONTEXTS.items()}


def _within(
    context: Callable[[], AbstractContextManager[None]], function: Callable[[], Result]
) -> Callable[[], Result]:
    def run() -> Result:
        with context():
            return function()

    return run


def _evaluate(model: nn.Module, frames: torch.Tensor) -> NamedTensors:
    with torch.no_grad():
        return {"the logits": model(frames)}


def _train(model: nn.Module, frames: torch.Tensor) -> NamedTensors:
    """Return loss and gradients of a step without an optimizer, and leave none in `model`."""
    logits = model(frames)
    loss = F.cross_entropy(logits, torch.arange(len(logits), device=logits.device) % CLASSES)
    loss.backward()
    gradients = {
        f"{GRADIENT_OF}{name}": parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    model.zero_grad(set_to_none=True)
    return {"the loss": loss.detach(), **gradients}
