"""How networks are measured: verified first, then in turns with the reference and with TSN."""

from __future__ import annotations

import contextlib
import functools
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch

from stc_ops.cost import Cost
from stc_ops.measuring import peak_bytes, seconds_in_turns
from stc_ops.models import NETWORKS

from .bench_networks import (
    REFERENCE,
    TOLERANCES,
    Setting,
    Step,
    Steps,
    build,
    check_trainable,
    cost_of,
    evaluations,
    random_frames,
    saved_bytes_of,
    trainings,
    verify,
)
from .errors import CommandError

YARDSTICK = "tsn"
EVALUATION, TRAINING = MODES = ("eval", "training")
LOW, HIGH = 0.2, 0.8


class Row(NamedTuple):
    """One variant of a network in one mode; None where something is not measured.

    Attributes:
        network, title: its names, in the catalog and in tables.
        mode: "eval", a forward, or "training": forward, cross-entropy and backward.
        variant: "optimized" (for inference), "fused" or "reference".
        num_segments, clips, size, dtype, device: the setting's.
        threads: those of the CPU that operators may use.
        median_seconds, low_seconds, high_seconds: over the rounds; 20 and 80 % quantiles.
        clips_per_second: of the median.
        times_faster_than_reference: the reference's median over this one.
        times_tsn: in evaluation, this median over that of the same variant of TSN, timed in the
            same rounds.
        peak_bytes: most that a step has allocated at a time, beside parameters and frames.
        saved_bytes: what a training forward saves for backward, beside parameters.
        parameters, macs: by :func:`stc_ops.cost.cost`; MACs of one clip.
    """

    network: str
    title: str
    mode: str
    variant: str
    num_segments: int
    clips: int
    size: int
    dtype: str
    device: str
    threads: int
    median_seconds: float
    low_seconds: float
    high_seconds: float
    clips_per_second: float
    times_faster_than_reference: float
    times_tsn: float | None
    peak_bytes: int
    saved_bytes: int | None
    parameters: int
    macs: int


def measure(
    names: Sequence[str],
    setting: Setting,
    modes: Sequence[str] = MODES,
    rounds: int = 11,
    on_round: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Measure networks one by one: verified, then all variants in turns from cold caches.

    Weights and frames are random and the same every time; nothing is dropped out.

    Args:
        names: of the networks, in the catalog.
        setting: what they are run on.
        modes: which of `MODES`.
        rounds: how often each variant is timed.
        on_round: called with rounds done and rounds of all networks and modes.

    Raises:
        CommandError: `setting` is too small to train in, a network cannot run in it, or a result is
            not the reference's.
    """
    if TRAINING in modes:
        check_trainable(setting)
    costs = {}
    for name in names:
        with _errors_about(name):
            costs[name] = cost_of(name, setting)
    numbers, total = itertools.count(1), len(names) * len(modes) * rounds
    bench = _Bench(setting, modes, rounds, lambda: on_round(next(numbers), total))
    rows = []
    # No convolution of a GPU rounds to TF32: rows say their dtype.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for name, of_network in costs.items():
            with _errors_about(name):
                rows += bench.rows(name, of_network)
    return rows


class _Bench:
    """What the rows of all networks have in common."""

    def __init__(
        self, setting: Setting, modes: Sequence[str], rounds: int, on_round: Callable[[], None]
    ) -> None:
        self.setting = setting
        self.modes = modes
        self.rounds = rounds
        self.on_round = on_round
        self.tolerances = TOLERANCES[setting.dtype]
        self.frames = random_frames(setting)

    def rows(self, name: str, of_network: Cost) -> list[Row]:
        model = build(name, self.setting)
        rows = []
        if EVALUATION in self.modes:
            steps = evaluations(model, self.frames)
            beside = steps if name == YARDSTICK else self._yardstick
            rows += self._rows(name, EVALUATION, of_network, steps, beside.variants)
        if TRAINING in self.modes:
            steps = trainings(model, self.frames)
            saved = saved_bytes_of(model, self.frames)
            rows += self._rows(name, TRAINING, of_network, steps, saved=saved)
        return rows

    @functools.cached_property
    def _yardstick(self) -> Steps:
        with _errors_about(YARDSTICK):
            steps = evaluations(build(YARDSTICK, self.setting), self.frames)
            verify(YARDSTICK, steps, self.tolerances)
        return steps

    def _rows(
        self,
        name: str,
        mode: str,
        of_network: Cost,
        steps: Steps,
        yardstick: Mapping[str, Step] = MappingProxyType({}),
        saved: Mapping[str, int] = MappingProxyType({}),
    ) -> list[Row]:
        verify(name, steps, self.tolerances)
        variants, device = steps.variants, self.setting.device
        peaks = {variant: peak_bytes(step, device) for variant, step in variants.items()}
        # Of one that is its own yardstick no variant is timed twice.
        beside = {} if yardstick is variants else _named_after_yardstick(yardstick)
        seconds = seconds_in_turns({**variants, **beside}, device, self.rounds, self.on_round)
        medians = {variant: statistics.median(each) for variant, each in seconds.items()}
        times_tsn = {
            variant: medians[variant] / medians.get(f"{YARDSTICK} {variant}", medians[variant])
            for variant in yardstick
        }
        return [
            Row(
                network=name,
                title=NETWORKS[name].title,
                mode=mode,
                variant=variant,
                **self.setting._asdict(),
                threads=torch.get_num_threads(),
                median_seconds=medians[variant],
                low_seconds=float(np.quantile(seconds[variant], LOW)),
                high_seconds=float(np.quantile(seconds[variant], HIGH)),
                clips_per_second=self.setting.clips / medians[variant],
                times_faster_than_reference=medians[REFERENCE] / medians[variant],
                times_tsn=times_tsn.get(variant),
                peak_bytes=peaks[variant],
                saved_bytes=saved.get(variant),
                **of_network._asdict(),
            )
            for variant in variants
        ]


def _named_after_yardstick(steps: Mapping[str, Step]) -> dict[str, Step]:
    return {f"{YARDSTICK} {variant}": step for variant, step in steps.items()}


@contextlib.contextmanager
def _errors_about(name: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        raise CommandError(f"cannot measure '{name}': {error}") from error
