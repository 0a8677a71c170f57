"""What the compiled CUDA kernels must be like, checked in what cuobjdump tells of the library."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cuda_disassembly import Function, Instruction, Kernel, kernel_named
from cuda_loops import steady_part

LIBRARY_VARIABLE = "STC_OPS_CUDA_LIBRARY"

REGISTERS_OF_A_MULTIPROCESSOR = 65536
MOST_REGISTERS_OF_A_THREAD = 255
MOST_SHARED_BYTES = 48 * 1024


class LaunchBounds(NamedTuple):
    threads: int
    blocks: int

    @property
    def registers(self) -> int:
        fitting = REGISTERS_OF_A_MULTIPROCESSOR // (self.threads * self.blocks)
        return min(fitting, MOST_REGISTERS_OF_A_THREAD)


BOUNDS = {
    "column": LaunchBounds(threads=256, blocks=2),
    "plane": LaunchBounds(threads=128, blocks=2),
    "shift": LaunchBounds(threads=256, blocks=1),
    "channel": LaunchBounds(threads=128, blocks=1),
}


class Traffic(NamedTuple):
    """The large tensors of a job.

    Attributes:
        loads: whether it loads any.
        stores: whether it stores any. What is small may be stored in vectors as well.
        in_pieces: whether it can find a vector of one tensor taken apart in another, and then
            moves elements.
    """

    loads: bool = True
    stores: bool = True
    in_pieces: bool = False


# By the job and its boolean, which is "" for jobs that have none.
TRAFFIC = {
    ("ShiftJob", ""): Traffic(in_pieces=True),
    ("MeanJob", ""): Traffic(stores=False),
    ("MeanBackwardJob", ""): Traffic(loads=False),
    ("MomentsJob", ""): Traffic(stores=False),
    ("GateJob", ""): Traffic(),
    ("GateBackwardJob", ""): Traffic(),
    ("SplitJob", "false"): Traffic(in_pieces=True),
    ("SplitJob", "true"): Traffic(in_pieces=True),
    ("SplitSumsJob", "false"): Traffic(stores=False, in_pieces=True),
    ("SplitSumsJob", "true"): Traffic(stores=False, in_pieces=True),
    ("SplitBackwardJob", "false"): Traffic(in_pieces=True),
    ("SplitBackwardJob", "true"): Traffic(in_pieces=True),
    ("RefineJob", "false"): Traffic(in_pieces=True),
    ("RefineJob", "true"): Traffic(),
    ("RefineSumsJob", "false"): Traffic(stores=False, in_pieces=True),
    ("RefineSumsJob", "true"): Traffic(stores=False),
    ("RefineBackwardJob", "false"): Traffic(in_pieces=True),
    ("RefineBackwardJob", "true"): Traffic(),
    ("ResidualJob", "false"): Traffic(),
    ("ResidualJob", "true"): Traffic(),
    ("ResidualSumsJob", "false"): Traffic(),
    ("ResidualSumsJob", "true"): Traffic(stores=False),
    ("ResidualBackwardJob", "false"): Traffic(),
    ("ResidualBackwardJob", "true"): Traffic(),
    ("GatedMomentsJob", ""): Traffic(),
    ("MergedMomentsJob", ""): Traffic(stores=False),
    ("ChannelSumsJob", ""): Traffic(stores=False),
    ("GateGradientJob", ""): Traffic(),
    ("SumRowsJob", ""): Traffic(stores=False),
}


def traffic_of(kernel: Kernel) -> Traffic:
    """Return what the kernel moves.

    Raises:
        ValueError: the table does not have its job.
    """
    if kernel.wrapper == "FromScratch":
        return Traffic(stores=False)
    if (job := (kernel.job, kernel.flag)) not in TRAFFIC:
        raise ValueError(f"a job that TRAFFIC does not have: {job}")
    return TRAFFIC[job]


class Resources(NamedTuple):
    """What a kernel takes, as `cuobjdump --dump-resource-usage` reports it."""

    architecture: str
    symbol: str
    registers: int
    stack: int
    shared: int
    local: int


_ARCHITECTURE = re.compile(r"arch = (sm_\w+)")
_FUNCTION = re.compile(r"\s*Function (\S+):")
_USAGE = re.compile(r"\s*REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+) ")


def resources_in(lines: Iterable[str]) -> Iterator[Resources]:
    """Yield what the report has.

    Raises:
        ValueError: it names a function without saying what that takes.
    """
    architecture = symbol = ""
    for line in lines:
        if symbol:
            if not (usage := _USAGE.match(line)):
                raise ValueError(f"no resources of {symbol}: {line!r}")
            registers, stack, shared, local = map(int, usage.groups())
            yield Resources(architecture, symbol, registers, stack, shared, local)
            symbol = ""
        elif match := _ARCHITECTURE.match(line):
            architecture = match[1]
        elif match := _FUNCTION.match(line):
            symbol = match[1]
    if symbol:
        raise ValueError(f"no resources of {symbol}")


def resource_faults(resources: Resources) -> list[str]:
    """Return what is wrong with it, a line each."""
    kernel = kernel_named(resources.symbol)
    limits = {
        "registers": BOUNDS[kernel.walk].registers,
        "stack": 0,
        "shared": MOST_SHARED_BYTES,
        "local": 0,
    }
    return [
        f"{resources.architecture} {kernel}: {name} {getattr(resources, name)}, at most {most}"
        for name, most in limits.items()
        if getattr(resources, name) > most
    ]


def instruction_faults(function: Function) -> list[str]:
    """Return what is wrong with its instructions, a line each."""
    kernel = kernel_named(function.symbol)
    faults = []
    if local := [each for each in function.instructions if each.is_local_access]:
        faults.append(f"local memory: {_summary(local)}")
    if kernel.width > 1:
        steady = steady_part(function.instructions)
        inside = [function.instructions[i] for i in sorted(steady.indices)]
        faults += _access_faults(inside, traffic_of(kernel))
    return [f"{kernel}: {fault}" for fault in faults]


def _access_faults(instructions: Sequence[Instruction], traffic: Traffic) -> Iterator[str]:
    """Yield what is wrong with the accesses of the part where the kernel spends its time."""
    if traffic.loads and not any(each.is_wide_load for each in instructions):
        yield "no load of 16 bytes"
    if traffic.stores and not any(each.is_wide_store for each in instructions):
        yield "no store of 16 bytes"
    narrow = [
        each for each in instructions if each.name in ("LDG", "STG") and not each.is_wide_access
    ]
    if narrow and not traffic.in_pieces:
        yield f"less than 16 bytes: {_summary(narrow)}"


def _summary(instructions: Sequence[Instruction]) -> str:
    first, *more = instructions
    return f"{first.opcode} at {first.address:#x} and {len(more)} more"


def library() -> Path | None:
    """Return the compiled kernels: what the environment variable names, or else the package's."""
    if named := os.environ.get(LIBRARY_VARIABLE):
        return Path(named)
    package = Path(importlib.util.find_spec("stc_ops").origin).parent
    return next(iter(sorted(package.glob("_cuda*.so"))), None)
