"""Whole networks: STC-ResNet-50 by the fused operators, and what that competes with."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import eager
import torch
import torch.nn.functional as F
from devices import CPU, DEVICES, Device, peak_memory
from matrix import Setting
from parameters import row
from timing import time_in_turns
from torch import nn

import stc_ops
from stc_ops import measuring
from stc_ops.backends import why_not
from stc_ops.models import stc_resnet50, tsn_resnet50

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

NUM_SEGMENTS, PIXELS, CLASSES = 8, 224, 174
TRAINING, EVALUATION = "training-step", "eval-forward"

# How far logits and losses, and gradients, may differ, all values together and relative to their
# norm. At the end of fifty layers of random weights gradients are chaotic: those of eager PyTorch
# are 0.04 from the ones in float64, those of the fused operators 0.02.
TOLERANCE, GRADIENT_TOLERANCE = 1e-3, 0.1

Forward = Callable[[torch.Tensor], torch.Tensor]
Step = Callable[[], list[torch.Tensor]]


class Variant(NamedTuple):
    """A way to run a network.

    Attributes:
        device: of the network and the frames.
        builder: of the network.
        prepare: what is done to it once, given frames like those it will see.
        context: what every call is in; backward passes too, when it is measured.
        why_not: why it cannot run even where the device is, or None.
    """

    device: Device
    builder: Callable[..., nn.Module] = stc_resnet50
    prepare: Callable[[nn.Module, torch.Tensor], Forward] = lambda model, frames: model
    context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    why_not: str | None = None


def _compiled(model: nn.Module, frames: torch.Tensor) -> Forward:
    compiled = torch.compile(model)
    if not model.training:
        # Folds batch norms and packs weights. An option of torch.compile comes too late for it.
        with torch._inductor.config.patch(freezing=True):
            compiled(frames)
    return compiled


def _in_openvino(model: nn.Module, frames: torch.Tensor) -> Forward:
    import openvino

    converted = openvino.convert_model(model, example_input=frames)
    # Without the hint it computes in bfloat16 where the processor can.
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.compile_model(converted, "CPU", options)
    array = frames.contiguous().numpy()
    return lambda _: torch.from_numpy(compiled(array)[0])


_reference = functools.partial(stc_ops.use_backend, "reference")
_optimize = getattr(stc_ops, "optimize_for_inference", None)
_has_openvino = importlib.util.find_spec("openvino") is not None


def _variants_on(device: Device) -> dict[str, Variant]:
    of_every_device = {
        "optimized": Variant(
            device,
            prepare=lambda model, frames: _optimize(model),
            context=functools.partial(stc_ops.use_backend, device.backends[0]),
            why_not=None if _optimize else "stc_ops.optimize_for_inference does not exist",
        ),
        "reference": Variant(device, context=_reference),
        "compiled-reference": Variant(device, prepare=_compiled, context=_reference),
        "eager-tsn": Variant(device, tsn_resnet50, context=_reference),
        "compiled-tsn": Variant(device, tsn_resnet50, prepare=_compiled, context=_reference),
    }
    variants = {f"{name}{device.suffix}": variant for name, variant in of_every_device.items()}
    for backend in device.backends:
        fused = functools.partial(stc_ops.use_backend, backend)
        in_place = functools.partial(eager.in_place_of_the_operators, backend)
        reason = why_not(backend, device.name)
        variants[backend] = Variant(device, context=fused, why_not=reason)
        variants[_eager_beside(backend, device)] = Variant(device, context=in_place, why_not=reason)
    return variants


def _eager_beside(name: str, device: Device) -> str:
    """Return eager PyTorch's variant that a variant is timed with.

    Both force the same backend, for to change between Triton's and compiled kernels takes a while.
    """
    return f"eager-beside-{name}" if name in device.backends[1:] else f"eager{device.suffix}"


VARIANTS_ON = {device: _variants_on(device) for device in DEVICES}
VARIANTS_ON[CPU]["openvino"] = Variant(
    CPU,
    prepare=_in_openvino,
    context=_reference,
    why_not=None if _has_openvino else "openvino is not installed",
)
VARIANTS = {name: each for variants in VARIANTS_ON.values() for name, each in variants.items()}


# Beside the fused operators, on every device that has the variant.
MEASURED = {
    TRAINING: ("reference", "compiled-reference"),
    EVALUATION: ("optimized", "reference", "compiled-reference", "compiled-tsn", "openvino"),
}


def rows(mode: str) -> list[ParameterSet]:
    """Return the variants that are measured in `mode`, those of a device in turn."""
    names = [
        name
        for device in DEVICES
        for name in (*device.backends, *(f"{each}{device.suffix}" for each in MEASURED[mode]))
        if name in VARIANTS
    ]
    return [row(VARIANTS[name].device, name, why_not=_why_not_measured(name)) for name in names]


def _why_not_measured(name: str) -> str | None:
    variant = VARIANTS[name]
    return variant.why_not or VARIANTS[_eager_beside(name, variant.device)].why_not


def settings(*clips: int) -> list[Setting]:
    """Return frames of the paper's size, 8 of 224 x 224 pixels a clip, for each number of clips."""
    return [Setting(each, NUM_SEGMENTS, 3, PIXELS, "float32", "nhwc") for each in clips]


def _copied_network(variant: Variant) -> nn.Module:
    return copy.deepcopy(_network(variant.builder)).to(variant.device.name)


@functools.lru_cache(maxsize=2)
def _network(builder: Callable[..., nn.Module]) -> nn.Module:
    """Return the network that all rows copy: random weights, and no dropout, which is random."""
    torch.manual_seed(0)
    model = builder(num_classes=CLASSES, num_segments=NUM_SEGMENTS, dropout=0.0)
    return model.to(memory_format=torch.channels_last)


@functools.lru_cache(maxsize=1)
def _frames(setting: Setting, device: Device) -> torch.Tensor:
    torch.manual_seed(0)
    return setting.random_frames().to(device.name)


# The rows of a setting and device are in turn and share what takes minutes to compile.
@functools.lru_cache(maxsize=max(len(variants) for variants in VARIANTS_ON.values()))
def _step(name: str, setting: Setting, mode: str) -> Step:
    """Return a function that does one step of a variant and returns all it computes.

    A training step is forward, loss and backward; the optimizer's part is the same for all and left
    out.
    """
    variant = VARIANTS[name]
    frames = _frames(setting, variant.device)
    model = _copied_network(variant).train(mode == TRAINING)
    with variant.context(), torch.set_grad_enabled(mode == TRAINING):
        forward = variant.prepare(model, frames)
    labels = torch.arange(setting.clips, device=frames.device)

    def evaluate() -> list[torch.Tensor]:
        with variant.context(), torch.no_grad():
            return [forward(frames)]

    def train() -> list[torch.Tensor]:
        model.zero_grad(set_to_none=True)
        with variant.context():
            loss = F.cross_entropy(forward(frames), labels)
        loss.backward()
        return [loss.detach(), *(parameter.grad for parameter in model.parameters())]

    return train if mode == TRAINING else evaluate


def saved_bytes(name: str, setting: Setting) -> int:
    """Return the bytes that a variant's training forward saves for backward."""
    variant = VARIANTS[name]
    model = _copied_network(variant).train()
    with variant.context():
        return measuring.saved_bytes(model, _frames(setting, variant.device))


def verify(name: str, actual: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    """Raise unless the results agree: no time is reported for a wrong one."""
    (got, *got_gradients), (want, *want_gradients) = actual, expected
    _verify_norm(f"{name}: the result", [got], [want], TOLERANCE)
    if want_gradients:
        _verify_norm(f"{name}: the gradient", got_gradients, want_gradients, GRADIENT_TOLERANCE)


def _verify_norm(
    what: str, actual: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float
) -> None:
    difference = measuring.relative_difference(actual, expected)
    # NaN is no more right than what is too far.
    if not difference <= tolerance:
        raise AssertionError(f"{what} differs from eager PyTorch's by {difference:.3g} of its norm")


def measure_network(benchmark, name: str, setting: Setting, mode: str, with_compile: bool) -> None:
    """Time one variant in turns with eager PyTorch and, if it is ours, with all competitors."""
    benchmark.group = f"network {mode} {setting}"
    # Around backward passes too, and out of the time that is taken: forcing Triton takes a while.
    with VARIANTS[name].context():
        _measure(benchmark, name, setting, mode, with_compile)


def _measure(benchmark, name: str, setting: Setting, mode: str, with_compile: bool) -> None:
    device = VARIANTS[name].device
    compared = _compared_with(name, mode, with_compile)
    steps = {each: _step(each, setting, mode) for each in (name, *compared.values())}
    eager_name = compared["eager"]
    for each in steps.keys() - {eager_name}:
        is_tsn = VARIANTS[each].builder is tsn_resnet50
        oracle = f"eager-tsn{device.suffix}" if is_tsn else eager_name
        verify(each, steps[each](), _step(oracle, setting, mode)())
    run = steps[name]
    if benchmark.disabled:
        benchmark(run)
        return
    beside = {other: steps[each] for other, each in compared.items()}
    ratios = time_in_turns(benchmark, device, run, beside)
    benchmark.extra_info.update(
        family="network",
        operator=VARIANTS[name].builder.__name__,
        mode=mode,
        backend=name,
        **setting.as_row(),
        **{f"times_{other}": ratio for other, ratio in ratios.items()},
        **peak_memory(device, run, steps[eager_name]),
    )
    if mode == TRAINING and not name.startswith("compiled-"):
        saved = saved_bytes(name, setting)
        benchmark.extra_info.update(
            saved_bytes=saved, fraction_of_saved_bytes=saved / saved_bytes(eager_name, setting)
        )


def _compared_with(name: str, mode: str, with_compile: bool) -> dict[str, str]:
    """Return the variants that one is timed with, by what their ratios are called."""
    device = VARIANTS[name].device
    compared = {"eager": _eager_beside(name, device)}
    if name in (*device.backends, f"optimized{device.suffix}"):
        if with_compile:
            compared["compiled"] = f"compiled-reference{device.suffix}"
        if with_compile and mode == EVALUATION:
            compared["compiled_tsn"] = f"compiled-tsn{device.suffix}"
        if _has_openvino and mode == EVALUATION and device is CPU:
            compared["openvino"] = "openvino"
    return compared
