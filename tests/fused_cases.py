"""The matrix of the fused operators: variants, modes of batch norm, arguments of every call."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from cases import SHAPES, Clips
from plain_layers import plain_spatial_refinement, plain_temporal_refinement

import stc_ops
from stc_ops.operators.checks import accumulation_dtype

PreActivations = tuple[torch.Tensor, ...]
Shape = tuple[int, ...]


class Mode(NamedTuple):
    """How the batch norms of a call normalize, and what they have."""

    training: bool
    affine: bool
    running_statistics: bool


MODES = {
    "training": Mode(training=True, affine=True, running_statistics=True),
    "training-bare": Mode(training=True, affine=False, running_statistics=False),
    "frozen": Mode(training=False, affine=True, running_statistics=True),
    "frozen-not-affine": Mode(training=False, affine=False, running_statistics=True),
}


def normalized(x: torch.Tensor, bn: stc_ops.BatchNorm) -> torch.Tensor:
    return F.batch_norm(
        x,
        bn.running_mean,
        bn.running_var,
        bn.weight,
        bn.bias,
        bn.training,
        bn.momentum,
        bn.eps,
    )


def split_pre_activations(u, bn, split, num_segments, stride=1, shift_div=8) -> PreActivations:
    spatial, temporal = normalized(u, bn).split(split, dim=1)
    if shift_div is not None:
        spatial = stc_ops.temporal_shift(spatial, num_segments, shift_div)
    return spatial, temporal[:, :, ::stride, ::stride]


def shift_pre_activations(u, bn, num_segments, shift_div=8) -> PreActivations:
    return (stc_ops.temporal_shift(normalized(u, bn), num_segments, shift_div),)


def refine_pre_activations(
    spatial_y, temporal_y, bn, num_segments, temporal_gate_weights=(), spatial_gate_weights=()
) -> PreActivations:
    refined = []
    for y, refinement, weights in (
        (spatial_y, plain_temporal_refinement, temporal_gate_weights),
        (temporal_y, plain_spatial_refinement, spatial_gate_weights),
    ):
        if y is not None and weights:
            clips = y.unflatten(0, (-1, num_segments)).transpose(1, 2)
            y = refinement(clips, weights).transpose(1, 2).flatten(0, 1)
        refined += [] if y is None else [y]
    return (normalized(torch.cat(refined, 1), bn),)


def add_pre_activations(w, bn, identity, identity_bn=None) -> PreActivations:
    if identity_bn is not None:
        identity = normalized(identity, identity_bn)
    return (normalized(w, bn) + identity,)


class FusedCase(NamedTuple):
    """A variant of a fused operator.

    `pre_activations` takes the same arguments and returns, by plain layers one after another, what
    the operator rectifies; `frames` and `gates` are shapes of tensors by the names of arguments.
    """

    operator: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]
    pre_activations: Callable[..., PreActivations]
    frames: Callable[[Clips], dict[str, Shape | None]]
    options: Callable[[Clips], dict[str, Any]] = lambda clips: {}
    gates: Callable[[Clips], dict[str, list[Shape]]] = lambda clips: {}
    norms: tuple[str, ...] = ("bn",)
    always_frozen: tuple[str, ...] = ()

    def is_gated(self, clips: Clips) -> bool:
        return any(self.gates(clips).values())

    def accepts(self, clips: Clips, mode: Mode) -> bool:
        """Whether the plain layers, and so the operator, take clips of this shape."""
        gated = self.is_gated(clips)
        values_per_channel = clips.batch * clips.num_segments * clips.height * clips.width
        if clips.channels == 0:
            return not gated and not mode.affine
        if clips.height * clips.width == 0:
            return not gated
        return not mode.training or values_per_channel != 1


def split_of(clips: Clips) -> tuple[int, int]:
    """Three quarters and the rest, as far as there are channels."""
    spatial = min(clips.channels, max(1, clips.channels * 3 // 4))
    return spatial, clips.channels - spatial


def _split_case(split: Callable[[Clips], tuple[int, int]] = split_of, **options: Any) -> FusedCase:
    return FusedCase(
        stc_ops.bn_relu_shift_split,
        split_pre_activations,
        lambda clips: {"u": clips.frames},
        lambda clips: {"split": split(clips), "num_segments": clips.num_segments, **options},
    )


HIDDEN_CHANNELS = 3


def _gate_shapes(channels: int, kernel: Shape, light: bool) -> list[Shape]:
    if channels == 0:
        return []
    if not light:
        return [(channels, channels, *kernel)]
    reduce = (HIDDEN_CHANNELS, channels, *(1 for _ in kernel))
    return [reduce, (channels, HIDDEN_CHANNELS, *kernel)]


def _refine_case(
    split: Callable[[Clips], tuple[int, int]] = split_of,
    *,
    temporal_refinement: bool = True,
    spatial_refinement: bool = True,
    light: bool = False,
) -> FusedCase:
    def frames(clips: Clips) -> dict[str, Shape | None]:
        spatial, temporal = split(clips)
        count, _, *pixels = clips.frames
        no_channels = clips.channels == 0
        return {
            "spatial_y": (count, spatial, *pixels) if spatial or no_channels else None,
            "temporal_y": (count, temporal, *pixels) if temporal else None,
        }

    def gates(clips: Clips) -> dict[str, list[Shape]]:
        spatial, temporal = split(clips)
        shapes = {}
        if temporal_refinement:
            shapes["temporal_gate_weights"] = _gate_shapes(spatial, (3,), light)
        if spatial_refinement:
            shapes["spatial_gate_weights"] = _gate_shapes(temporal, (3, 3), light)
        return shapes

    return FusedCase(
        stc_ops.refine_bn_relu,
        refine_pre_activations,
        frames,
        lambda clips: {"num_segments": clips.num_segments},
        gates,
    )


def _add_case(norms: tuple[str, ...], always_frozen: tuple[str, ...] = ()) -> FusedCase:
    return FusedCase(
        stc_ops.bn_add_relu,
        add_pre_activations,
        lambda clips: {"w": clips.frames, "identity": clips.frames},
        norms=norms,
        always_frozen=always_frozen,
    )


def only_spatial(clips: Clips) -> tuple[int, int]:
    return clips.channels, 0


def only_temporal(clips: Clips) -> tuple[int, int]:
    return 0, clips.channels


FUSED = {
    "split": _split_case(),
    "split-alpha-0": _split_case(only_temporal),
    "split-alpha-1": _split_case(only_spatial),
    "split-stride-2": _split_case(stride=2, shift_div=3),
    "split-no-shift": _split_case(shift_div=None),
    "bn-relu": FusedCase(
        stc_ops.bn_relu,
        lambda u, bn: (normalized(u, bn),),
        lambda clips: {"u": clips.frames},
    ),
    "bn-relu-shift": FusedCase(
        stc_ops.bn_relu_shift,
        shift_pre_activations,
        lambda clips: {"u": clips.frames},
        lambda clips: {"num_segments": clips.num_segments, "shift_div": 4},
    ),
    "refine": _refine_case(),
    "refine-light": _refine_case(light=True),
    "refine-tr-only": _refine_case(spatial_refinement=False),
    "refine-sr-only": _refine_case(temporal_refinement=False),
    "refine-ungated": _refine_case(temporal_refinement=False, spatial_refinement=False),
    "refine-alpha-1": _refine_case(only_spatial),
    "refine-alpha-0": _refine_case(only_temporal, light=True),
    "add": _add_case(("bn",)),
    "add-two-norms": _add_case(("bn", "identity_bn")),
    "add-identity-frozen": _add_case(("bn", "identity_bn"), ("identity_bn",)),
}

every_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
every_fused_case = pytest.mark.parametrize("case", FUSED.values(), ids=FUSED.keys())


def every_call(
    shapes: Mapping[str, Clips] = SHAPES,
    cases: Iterable[str] = FUSED,
    modes: Iterable[str] = MODES,
) -> pytest.MarkDecorator:
    """Parametrize `case`, `clips` and `mode` by all that go together."""
    return pytest.mark.parametrize(
        ("case", "clips", "mode"),
        [
            pytest.param(FUSED[name], clips, MODES[mode], id=f"{name}-{shape}-{mode}")
            for name in cases
            for shape, clips in shapes.items()
            for mode in modes
            if FUSED[name].accepts(clips, MODES[mode])
        ],
    )


@dataclasses.dataclass(frozen=True)
class Problem:
    """One call: its differentiable tensors and its running statistics, by name."""

    case: FusedCase
    clips: Clips
    mode: Mode
    tensors: dict[str, torch.Tensor]
    statistics: dict[str, torch.Tensor]
    process_group: dist.ProcessGroup | None = None

    def batch_norm(self, name: str) -> stc_ops.BatchNorm:
        return stc_ops.BatchNorm(
            self.tensors.get(f"{name}.weight"),
            self.tensors.get(f"{name}.bias"),
            self.statistics.get(f"{name}.running_mean"),
            self.statistics.get(f"{name}.running_var"),
            self.mode.training and name not in self.case.always_frozen,
            momentum=0.3,
            eps=1e-3,
            process_group=self.process_group,
        )

    def arguments(self) -> dict[str, Any]:
        """The arguments of the operator."""
        frames = {name: self.tensors.get(name) for name in self.case.frames(self.clips)}
        norms = {name: self.batch_norm(name) for name in self.case.norms}
        gates = {
            name: tuple(self.tensors[f"{name}[{i}]"] for i in range(len(shapes)))
            for name, shapes in self.case.gates(self.clips).items()
        }
        return frames | norms | gates | self.case.options(self.clips)

    def outputs(self) -> tuple[torch.Tensor, ...]:
        """What the operator returns; this updates the running statistics."""
        out = self.case.operator(**self.arguments())
        return out if isinstance(out, tuple) else (out,)

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Problem:
        """The same call on changed tensors, leaves again, and on copies of changed statistics."""
        return dataclasses.replace(
            self,
            tensors={
                name: change(tensor.detach()).requires_grad_(tensor.requires_grad)
                for name, tensor in self.tensors.items()
            },
            statistics={name: change(each).clone() for name, each in self.statistics.items()},
        )

    def map_frames(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Problem:
        """The same call on changed frames."""
        return self.replaced({name: change(self.tensors[name].detach()) for name in self.frames()})

    def replaced(self, tensors: dict[str, torch.Tensor]) -> Problem:
        """The same call with other tensors for some."""
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}
        return dataclasses.replace(self, tensors=self.tensors | leaves)

    def synchronized(self, process_group: dist.ProcessGroup) -> Problem:
        """The same call with statistics over several processes."""
        return dataclasses.replace(self, process_group=process_group)

    def fresh(self) -> Problem:
        """The same call, on running statistics of its own."""
        return self.map(lambda tensor: tensor)

    def frames(self) -> list[str]:
        """Names of the frames that are given."""
        return [name for name in self.case.frames(self.clips) if name in self.tensors]


def make_problem(
    case: FusedCase,
    clips: Clips,
    mode: Mode,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
    parameter_dtype: torch.dtype | None = None,
) -> Problem:
    """Return a call on random frames and parameters that require gradients."""
    parameter_dtype = parameter_dtype or accumulation_dtype(dtype)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64)

    tensors, statistics = {}, {}
    for name, shape in case.frames(clips).items():
        if shape is not None:
            # Channels have means of their own, as behind a convolution.
            frames = random(*shape) + random(shape[1], 1, 1)
            tensors[name] = frames.to(dtype).contiguous(memory_format=memory_format)
    for name in case.norms:
        if mode.affine:
            weight = random(clips.channels)
            weight[2::5] = 0  # as where the last batch norm of a block starts from zero
            tensors[f"{name}.weight"] = weight.to(parameter_dtype)
            tensors[f"{name}.bias"] = random(clips.channels).to(parameter_dtype)
        if mode.running_statistics or name in case.always_frozen:
            variance = torch.rand(clips.channels, dtype=torch.float64) + 0.5
            statistics[f"{name}.running_mean"] = random(clips.channels).to(parameter_dtype)
            statistics[f"{name}.running_var"] = variance.to(parameter_dtype)
    for name, shapes in case.gates(clips).items():
        for i, shape in enumerate(shapes):
            # Logits of the size of one, whatever the number of channels.
            weight = random(*shape) * 2 / math.sqrt(math.prod(shape[1:]))
            tensors[f"{name}[{i}]"] = weight.to(parameter_dtype)
    tensors = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
    return Problem(case, clips, mode, tensors, statistics)
