"""How many instructions the CUDA kernels need for what they move, estimated without a GPU.

`python benchmarks/cuda_instructions.py LIBRARY [--arch sm_90] [--dtype float32 ...]`
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cuda_disassembly import (
    DTYPES,
    Function,
    architectures,
    cuobjdump,
    disassembly,
    kernel_named,
)
from cuda_loops import Steady, Way, steady_part

EXIT_ERROR = 2

# An H100 SXM.
MULTIPROCESSORS = 132
WARPS_ISSUED_PER_CYCLE = 4
THREADS_OF_A_WARP = 32
CYCLES_PER_SECOND = 1.755e9
BYTES_PER_SECOND = 3.35e12

INSTRUCTIONS_PER_SECOND = (
    MULTIPROCESSORS * WARPS_ISSUED_PER_CYCLE * THREADS_OF_A_WARP * CYCLES_PER_SECOND
)
BYTES_OF_AN_ACCESS = 16
AVAILABLE = INSTRUCTIONS_PER_SECOND / (BYTES_PER_SECOND / BYTES_OF_AN_ACCESS)

# Kernels with less headroom than this are named.
LITTLE_HEADROOM = 2

NOTE = """\
**An estimate from the disassembly for {architecture}: nothing was measured, on no GPU.**

A kernel spends its time in its steady loop: of the innermost loops, the one with the most accesses
of 16 bytes to global memory (`LDG.128` and `STG.128`; loads and stores count alike, as bytes
moved). Counted are the instructions of a thread on the longest path through it among those that
make the most such accesses, so that all is computed and no vector is taken apart; they are divided
by the accesses on that path. "All paths" divides all instructions of the loop by all its accesses,
and over-counts: no thread executes them all. Of kernels without such a loop the whole is counted.

An H100 SXM issues {multiprocessors} x {warps} x {threads} x {gigahertz} GHz = \
{issued:.2e} instructions of threads per
second and moves {terabytes} TB/s, so {available:.0f} instructions per 16 bytes. The headroom is \
that number over the
needed one: above 1, memory is the limit. This leaves out latency and occupancy, caches, what is
before and behind the loop, subroutines that it calls, units slower than the issue (fp64, `MUFU`,
conversions and integers), and accesses of which only a part is needed."""

# The kernels of a title and walk, by dtype.
Rows = Mapping[tuple[str, str], Mapping[str, Steady]]


def steady_parts(functions: Iterable[Function], dtypes: Sequence[str]) -> Rows:
    """Return where the kernels spend their time that have vectors and 32-bit offsets."""
    rows: dict[tuple[str, str], dict[str, Steady]] = {}
    for function in functions:
        kernel = kernel_named(function.symbol)
        if kernel.width > 1 and kernel.index_bits == 32 and kernel.dtype in dtypes:
            by_dtype = rows.setdefault((kernel.title, kernel.walk), {})
            by_dtype[kernel.dtype] = steady_part(function.instructions)
    return rows


def family_of(title: str) -> str:
    """Return the word that the job's name begins with."""
    return re.match(r"(?:\w+Scratch<)?([A-Z][a-z]+)", title)[1]


def markdown(rows: Rows, architecture: str) -> str:
    """Return the estimate with a table per family of jobs."""
    families: dict[str, dict[tuple[str, str], Mapping[str, Steady]]] = {}
    for key in sorted(rows):
        families.setdefault(family_of(key[0]), {})[key] = rows[key]
    tables = (f"### {family}\n\n{_table(of_family)}" for family, of_family in families.items())
    return "\n\n".join([_note(architecture), _summary(rows), *tables])


def _note(architecture: str) -> str:
    return NOTE.format(
        architecture=architecture,
        multiprocessors=MULTIPROCESSORS,
        warps=WARPS_ISSUED_PER_CYCLE,
        threads=THREADS_OF_A_WARP,
        gigahertz=CYCLES_PER_SECOND / 1e9,
        issued=INSTRUCTIONS_PER_SECOND,
        terabytes=BYTES_PER_SECOND / 1e12,
        available=AVAILABLE,
    )


def _summary(rows: Rows) -> str:
    headrooms = [
        (AVAILABLE / steady.path.per_access, f"`{title}` {walk} {dtype}")
        for (title, walk), by_dtype in rows.items()
        for dtype, steady in by_dtype.items()
        if steady.path.accesses > 0
    ]
    limited = sum(headroom > 1 for headroom, _ in headrooms)
    little = [
        f"{name} {headroom:.1f}"
        for headroom, name in sorted(headrooms)
        if headroom < LITTLE_HEADROOM
    ]
    return (
        f"By this, memory is the limit of {limited} of {len(headrooms)} kernels. Headroom below "
        f"{LITTLE_HEADROOM}: {', '.join(little) or 'none'}."
    )


def _table(rows: Rows) -> str:
    dtypes = [each for each in DTYPES.values() if any(each in row for row in rows.values())]
    titles = ["job", "walk"]
    for dtype in dtypes:
        titles += [f"{dtype}: per 16 bytes", "all paths", "headroom"]
    lines = [titles, ["---"] * len(titles)]
    for (title, walk), by_dtype in rows.items():
        cells = [cell for dtype in dtypes for cell in _cells(by_dtype.get(dtype))]
        lines.append([f"`{title}`", walk, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(steady: Steady | None) -> list[str]:
    if steady is None:
        return ["–", "–", "–"]
    if steady.path.accesses == 0:
        return ["no access of 16 bytes", "–", "–"]
    mark = "" if steady.is_loop else ", no loop"
    headroom = f"{AVAILABLE / steady.path.per_access:.1f}"
    return [_quotient(steady.path) + mark, _quotient(steady.whole), headroom]


def _quotient(way: Way) -> str:
    return f"{way.per_access:.1f} ({way.instructions} / {way.accesses})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the estimate that `arguments` ask for and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        print(_estimate(options.library, options.arch, options.dtype))
    except (OSError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"cuda_instructions.py: error: {error}\n")
        return EXIT_ERROR
    return 0


def _estimate(libraries: Sequence[Path], architecture: str, dtypes: Sequence[str]) -> str:
    if (tool := cuobjdump()) is None:
        raise ValueError("cuobjdump is neither on PATH nor in an installed triton")
    rows: dict[tuple[str, str], dict[str, Steady]] = {}
    for library in libraries:
        if architecture not in (known := architectures(tool, library)):
            raise ValueError(f"{library} is for {', '.join(known) or 'no architecture'}")
        parts = steady_parts(disassembly(tool, library, architecture), dtypes)
        for key, by_dtype in parts.items():
            rows.setdefault(key, {}).update(by_dtype)
    if not rows:
        raise ValueError("no kernels with vectors and 32-bit offsets were found")
    return markdown(rows, architecture)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cuda_instructions.py",
        description="Estimate from the disassembly what the CUDA kernels need per 16 bytes moved.",
    )
    parser.add_argument(
        "library", nargs="+", type=Path, metavar="LIBRARY", help="compiled library or objects"
    )
    parser.add_argument("--arch", default="sm_90", help="architecture (default: %(default)s)")
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=list(DTYPES.values()),
        default=["float32", "float16", "bfloat16"],
        help="dtypes to list (default: all but float64, which other units compute)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
