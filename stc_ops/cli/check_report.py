"""What `stc-ops check` has found, as a table, a JSON file and a figure."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch

from stc_ops.config import __version__

from .bench_report import Machine
from .check_rows import Agreement, Time, mode_of
from .output_file import whole_file

AGREES = "agrees"


@dataclasses.dataclass
class Findings:
    """What has been found so far.

    Attributes:
        device: where.
        machine: what that is, in a line.
        until: when time is up, by the monotonic clock.
        planned, done: how many rows.
        interrupted: whether by the user.
        agreements: one for each operator, backend, dtype, memory format, shape and mode.
        captured: how a captured training step ended, "agrees" or what is different; None where no
            such thing is captured.
        times: of operators.
    """

    device: str
    machine: str
    until: float
    planned: int = 0
    done: int = 0
    interrupted: bool = False
    agreements: list[Agreement] = dataclasses.field(default_factory=list)
    captured: str | None = None
    times: list[Time] = dataclasses.field(default_factory=list)

    @classmethod
    def begin(cls, device: str, minutes: float) -> Findings:
        """Return none, of a device, for so many minutes from now on."""
        machine = Machine.of(device, "")
        threads = f"{machine.threads} threads of the CPU"
        text = f"{machine.name}, {threads}, torch {machine.torch}, stc_ops {__version__}"
        return cls(device, text, time.monotonic() + 60 * minutes)

    @property
    def is_time_up(self) -> bool:
        """Whether no more is to be done."""
        return time.monotonic() > self.until

    @property
    def differences(self) -> list[str]:
        """Return a line for everything that does not agree."""
        lines = [
            f"{', '.join([row.operator, *mode_of(row)])} on '{row.backend}', {row.dtype}, "
            f"{row.memory_format}, {row.shape}: {row.difference}"
            for row in self.agreements
            if row.difference is not None
        ]
        if self.captured not in (None, AGREES):
            lines.append(f"captured training step: {self.captured}")
        return lines

    @property
    def all_agree(self) -> bool:
        """Whether something was compared and nothing differs."""
        return bool(self.agreements) and not self.differences

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let an interrupt end the block, with what has been found."""
        try:
            yield
        except KeyboardInterrupt:
            self.interrupted = True


def table(findings: Findings) -> str:
    """Return what was found, as aligned lines."""
    compared = len(findings.agreements)
    lines = [findings.machine, ""]
    by_operator = defaultdict(list)
    for row in findings.agreements:
        by_operator[row.operator, row.backend].append(row.difference is None)
    lines += [
        f"{operator:34} {backend:10} {sum(agree):5} of {len(agree)} agree"
        for (operator, backend), agree in by_operator.items()
    ]
    if findings.captured is not None:
        lines.append(f"{'captured training step':34} {findings.captured}")
    if findings.times:
        lines += ["", _heading(), *map(_line, findings.times)]
    if findings.differences:
        lines += ["", "DIFFERENT", *findings.differences]
    left = findings.planned - findings.done
    why = "interrupted" if findings.interrupted else "time was up"
    lines += ["", f"{compared} compared, {len(findings.differences)} different"]
    if left:
        lines[-1] += f"; {left} of {findings.planned} rows not done: {why}"
    return "\n".join(lines)


def _heading() -> str:
    return (
        f"{'forward and backward':34} {'backend':10} {'dtype':9} {'shape':16} {'mode':11}"
        f"{'ms':>9} {'x eager':>8} {'x compiled':>11} {'GB/s':>7} {'launches':>9}"
    )


def _line(row: Time) -> str:
    compiled = "-" if row.times_compiled is None else f"{row.times_compiled:.2f}"
    launches = "-" if row.launches is None else f"{row.launches} ({row.launches_of_eager})"
    mode = "".join(mode_of(row))
    return (
        f"{row.operator:34} {row.backend:10} {row.dtype:9} {row.shape:16} {mode:11}"
        f"{1000 * row.seconds:9.3f} {row.times_eager:8.2f} {compiled:>11} "
        f"{row.gigabytes_per_second:7.1f} {launches:>9}"
    )


def write_json(findings: Findings, path: Path) -> None:
    """Write all rows into a file that appears whole or not at all."""
    content = {
        "device": findings.device,
        "machine": findings.machine,
        "torch": torch.__version__,
        "planned": findings.planned,
        "done": findings.done,
        "interrupted": findings.interrupted,
        "all_agree": findings.all_agree,
        "captured": findings.captured,
        "agreements": [each._asdict() for each in findings.agreements],
        "times": [each._asdict() for each in findings.times],
    }
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n")


def write_figure_of(findings: Findings, path: Path) -> None:
    """Draw the times, if there are any and matplotlib is installed."""
    if not findings.times or importlib.util.find_spec("matplotlib") is None:
        return
    from .check_figure import draw_times
    from .figure_file import write_figure

    with whole_file(path) as unfinished:
        write_figure(draw_times(findings.times, findings.machine), unfinished, path)
