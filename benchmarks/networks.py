"""How whole networks are measured: verified first, then in turns with what they compete with."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import compiling
import torch
import torch.nn.functional as F
from devices import CPU, DEVICES, Device, peak_memory
from matrix import Setting
from parameters import row
from timing import time_in_turns
from torch import nn
from ways import (
    COMPETITORS,
    EAGER,
    TRAINING,
    Way,
    competitors,
    fused,
    fused_without_recomputation,
    own_ways,
)

from stc_ops import measuring
from stc_ops.cli import bench_networks
from stc_ops.measuring import NamedTensors, Tolerance, first_difference

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

NUM_SEGMENTS, PIXELS = 8, 224

# How far each result, and the gradient of each parameter, may be from eager PyTorch's, relative to
# its norm. Where the argument of a ReLU is zero but for rounding, one has a gradient and one has
# none: with clips of 8 frames of 64 to 112 pixels that makes 0.02 of the worst gradient. Oracles in
# float64 would take a minute for each row.
RESULT_TOLERANCE, GRADIENT_TOLERANCE = Tolerance(1e-5, 0), Tolerance(0.05, 0)
GRADIENT = "the gradient of "

Step = Callable[[], NamedTensors]


class Group:
    """What is measured in one mode, of one setting on one device.

    Its steps share what takes long to make: networks, and what is compiled.
    """

    def __init__(self, setting: Setting, mode: str, device: Device) -> None:
        # Once for all steps: what is forgotten would be compiled anew while it is timed.
        compiling.start_over()
        torch.manual_seed(0)
        self.setting = setting
        self.mode = mode
        self.device = device
        self.frames = setting.random_frames().to(device.name)
        self.step = functools.cache(self._step)
        self._built = functools.cache(self._build)

    def network(self, name: str) -> nn.Module:
        """Return a copy of a network; its weights are the same every time, it drops nothing out."""
        return copy.deepcopy(self._built(name)).train(self.mode == TRAINING)

    def _build(self, name: str) -> nn.Module:
        setting = bench_networks.Setting(self.setting.num_segments, device=self.device.name)
        return bench_networks.build(name, setting)

    def _step(self, way: Way) -> Step:
        """Return a function that does one step and returns all it computes.

        A training step is forward, loss and backward; the optimizer's part is the same for all and
        left out.
        """
        network = self.network(way.network)
        with way.context(), torch.set_grad_enabled(self.mode == TRAINING):
            forward = way.prepare(network, self.frames)
        labels = torch.arange(self.setting.clips, device=self.frames.device)

        def evaluate() -> NamedTensors:
            with way.context(), torch.no_grad():
                return {"the logits": forward(self.frames)}

        def train() -> NamedTensors:
            network.zero_grad(set_to_none=True)
            with way.context():
                loss = F.cross_entropy(forward(self.frames), labels)
            loss.backward()
            gradients = {f"{GRADIENT}{key}": each.grad for key, each in network.named_parameters()}
            return {"the loss": loss.detach(), **gradients}

        return train if self.mode == TRAINING else evaluate

    def verify(self, name: str, way: Way) -> None:
        """Raise unless each result is right by itself: no time is reported for a wrong one."""
        eager = COMPETITORS[EAGER]._replace(network=way.network)
        if way != eager:
            verify(name, self.step(way)(), self.step(eager)())

    def saved_bytes(self, way: Way) -> int:
        """Return the bytes that a training forward saves for backward."""
        network = self.network(way.network)
        with way.context():
            return measuring.saved_bytes(way.prepare(network, self.frames), self.frames)


# The rows of a setting, mode and device are in turn.
group_of = functools.lru_cache(maxsize=1)(Group)


def verify(what: str, actual: NamedTensors, expected: NamedTensors) -> None:
    for tolerance, gradients in ((RESULT_TOLERANCE, False), (GRADIENT_TOLERANCE, True)):
        got, want = (
            {name: each[name] for name in each if name.startswith(GRADIENT) == gradients}
            for each in (actual, expected)
        )
        if difference := first_difference(got, want, want, tolerance):
            raise AssertionError(f"{what}: differs from eager PyTorch: {difference}")


def rows(mode: str) -> list[ParameterSet]:
    """Return this package's ways, those of a device in turn."""
    return [
        row(device, name, why_not=reason)
        for device in DEVICES
        for name, (_, reason) in own_ways(mode, device).items()
    ]


def settings(*clips: int) -> list[Setting]:
    """Return frames of the paper's size, 8 of 224 x 224 pixels a clip, for each number of clips."""
    return [Setting(each, NUM_SEGMENTS, 3, PIXELS, "float32", "nhwc") for each in clips]


def measure_network(benchmark, name: str, setting: Setting, mode: str, with_compile: bool) -> None:
    """Time one of this package's ways in turns with all that it competes with."""
    device = next(device for device in DEVICES if name in own_ways(mode, device))
    way, _ = own_ways(mode, device)[name]
    beside = competitors(mode, device, with_compile)
    _measure(benchmark, name, way, beside, group_of(setting, mode, device))


def measure_recomputation(benchmark, network: str, setting: Setting) -> None:
    """Time training steps in turns with those that save what else backward computes again."""
    way, saving = fused("cpu", network), fused_without_recomputation("cpu", network)
    group = group_of(setting, TRAINING, CPU)
    _measure(benchmark, "cpu", way, {"saving": saving}, group, family="recomputation")
    saved, saved_by_the_other = group.saved_bytes(way), group.saved_bytes(saving)
    if saved >= saved_by_the_other:
        raise AssertionError(f"the same {saved} bytes are saved without recomputation")
    benchmark.extra_info.update(fraction_of_saved_bytes=saved / saved_by_the_other)


def _measure(
    benchmark,
    name: str,
    way: Way,
    beside: dict[str, Way],
    group: Group,
    family: str = "network",
) -> None:
    benchmark.group = f"{family} {group.mode} {group.setting}"
    # Around backward passes too, and out of the time that is taken: forcing Triton takes a while.
    with way.context():
        for other, each in {name: way, **beside}.items():
            group.verify(other, each)
        run = group.step(way)
        if benchmark.disabled:
            benchmark(run)
            return
        steps = {other: group.step(each) for other, each in beside.items()}
        with compiling.nothing_compiled():
            ratios = time_in_turns(benchmark, group.device, run, steps)
        benchmark.extra_info.update(
            family=family,
            operator=way.network,
            mode=group.mode,
            backend=name,
            **group.setting.as_row(),
            **{f"times_{other}": ratio for other, ratio in ratios.items()},
        )
        if EAGER in beside:
            benchmark.extra_info.update(peak_memory(group.device, run, steps[EAGER]))
            if group.mode == TRAINING:
                saved = [group.saved_bytes(each) for each in (way, beside[EAGER])]
                benchmark.extra_info.update(fraction_of_saved_bytes=saved[0] / saved[1])
