"""Ways to run a network: this package's, and those of PyTorch and others that it competes with."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import compiling
import eager_networks
import torch
from devices import CPU, Device
from torch import nn

import stc_ops
from stc_ops.backends import why_not

TRAINING, EVALUATION = MODES = ("training-step", "eval-forward")
OPTIMIZED = "optimized"

Forward = Callable[[torch.Tensor], torch.Tensor]


class Way(NamedTuple):
    """A way to run a network.

    Attributes:
        prepare: what is done to the network once, given frames like those it will see.
        network: its name in the catalog.
        context: what every call is in; backward passes too, when it is measured.
        modes: in which it runs.
        compiles: whether that takes so long that it is measured only where somebody asks for it.
        runtime: the package of another runtime, on the CPU, that it needs.
    """

    prepare: Callable[[nn.Module, torch.Tensor], Forward]
    network: str = "stc"
    context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    modes: tuple[str, ...] = MODES
    compiles: bool = False
    runtime: str | None = None

    def runs(self, mode: str, device: Device) -> bool:
        if self.runtime is not None:
            is_installed = importlib.util.find_spec(self.runtime) is not None
            return is_installed and device is CPU and mode in self.modes
        return mode in self.modes


def _fused(network: nn.Module, frames: torch.Tensor) -> Forward:
    return network


def _fused_without_recomputation(network: nn.Module, frames: torch.Tensor) -> Forward:
    network.recompute = False
    return network


def _optimized(network: nn.Module, frames: torch.Tensor) -> Forward:
    return stc_ops.optimize_for_inference(network)


def _layer_by_layer(network: nn.Module, frames: torch.Tensor) -> Forward:
    network.fused = False
    return network


def _eager(network: nn.Module, frames: torch.Tensor) -> Forward:
    return eager_networks.EagerNetwork(network)


def _eager_folded(network: nn.Module, frames: torch.Tensor) -> Forward:
    return eager_networks.folded(network)


def _compiled(
    prepare: Callable[[nn.Module, torch.Tensor], Forward], network: nn.Module, frames: torch.Tensor
) -> Forward:
    compiled = compiling.compile_static(prepare(network, frames))
    if not network.training:
        # Folds batch norms and packs weights. An option of torch.compile comes too late for it.
        with torch._inductor.config.patch(freezing=True):
            compiled(frames)
    return compiled


def _in_openvino(network: nn.Module, frames: torch.Tensor) -> Forward:
    import openvino

    converted = openvino.convert_model(_layer_by_layer(network, frames), example_input=frames)
    # Without the hint it computes in bfloat16 where the processor can.
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.compile_model(converted, "CPU", options)
    array = frames.contiguous().numpy()
    return lambda _: torch.from_numpy(compiled(array)[0])


_reference = functools.partial(stc_ops.use_backend, "reference")

# What this package's ways are timed with, by what their ratios are called.
EAGER = "eager"
COMPETITORS = {
    EAGER: Way(_eager),
    "eager_folded": Way(_eager_folded, modes=(EVALUATION,)),
    "compiled": Way(
        functools.partial(_compiled, _layer_by_layer), context=_reference, compiles=True
    ),
    "compiled_eager": Way(functools.partial(_compiled, _eager), compiles=True),
    "openvino": Way(_in_openvino, context=_reference, modes=(EVALUATION,), runtime="openvino"),
    "compiled_tsn": Way(
        functools.partial(_compiled, _eager), "tsn", modes=(EVALUATION,), compiles=True
    ),
    "openvino_tsn": Way(
        _in_openvino, "tsn", context=_reference, modes=(EVALUATION,), runtime="openvino"
    ),
}


def competitors(mode: str, device: Device, with_compile: bool) -> dict[str, Way]:
    return {
        name: way
        for name, way in COMPETITORS.items()
        if way.runs(mode, device) and (with_compile or not way.compiles)
    }


def fused(backend: str, network: str = "stc") -> Way:
    return Way(_fused, network, functools.partial(stc_ops.use_backend, backend))


def fused_without_recomputation(backend: str, network: str) -> Way:
    return fused(backend, network)._replace(prepare=_fused_without_recomputation)


def own_ways(mode: str, device: Device) -> dict[str, tuple[Way, str | None]]:
    """Return this package's ways, and why each cannot run here, or None."""
    ways = {name: (fused(name), why_not(name, device.name)) for name in device.backends}
    if mode == EVALUATION:
        compiled = device.backends[0]
        way = fused(compiled)._replace(prepare=_optimized)
        ways[f"{OPTIMIZED}{device.suffix}"] = (way, why_not(compiled, device.name))
    return ways
