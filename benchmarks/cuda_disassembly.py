"""The kernels of a compiled CUDA library and their instructions, as cuobjdump shows them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

DTYPES = {"f": "float32", "d": "float64", "NS_4HalfE": "float16", "NS_8BFloat16E": "bfloat16"}
INDEX_BITS = {"i": 32, "l": 64}

_ELEMENT = "(?P<element>" + "|".join(DTYPES) + ")"
_JOB = (
    r"(?:NS0_\d+(?P<wrapper>ToScratch|FromScratch)I)?"
    rf"NS0_\d+(?P<job>[A-Z]\w*?)I{_ELEMENT}(?:Lb(?P<flag>[01])E)?E+"
)
_VECTORS = r"Li(?P<width>\d+)E(?P<index>[il])E"
_KERNELS = [
    re.compile(rf"_ZN3stc4cuda\d+(?P<walk>{pattern}Ev")
    for pattern in (
        rf"column|plane)_kernelI{_JOB}{_VECTORS}",
        rf"shift)_kernelI{_ELEMENT}{_VECTORS}",
        rf"channel)_kernelI{_JOB}E",
    )
]
_INSTRUCTION = re.compile(r"\s+/\*([0-9a-f]+)\*/\s+(?:@(!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*?)\s*;")
_ARCHITECTURE = re.compile(r"sm_\d+[af]?")


class Kernel(NamedTuple):
    """What the name of a kernel says.

    Attributes:
        walk: "column", "plane", "shift" or "channel".
        job: what is done to each vector.
        wrapper: "ToScratch" or "FromScratch" for a pass of two, else "".
        flag: the job's boolean template argument, "true" or "false", or "" without one.
        dtype: of the job.
        width: elements of a vector; 1 is for odd memory.
        index_bits: of offsets.
    """

    walk: str
    job: str
    wrapper: str
    flag: str
    dtype: str
    width: int
    index_bits: int

    @property
    def title(self) -> str:
        """The job with its template arguments, but for the dtype."""
        job = f"{self.job}<{self.flag}>" if self.flag else self.job
        return f"{self.wrapper}<{job}>" if self.wrapper else job

    def __str__(self) -> str:
        return (
            f"{self.walk} {self.title} {self.dtype}, vectors of {self.width}, "
            f"{self.index_bits}-bit offsets"
        )


def kernel_named(symbol: str) -> Kernel:
    """Return what the mangled name says.

    Raises:
        ValueError: it is of no kind of kernel that is known here.
    """
    for pattern in _KERNELS:
        if match := pattern.match(symbol):
            parts = match.groupdict()
            return Kernel(
                walk=parts["walk"],
                job=parts.get("job") or "ShiftJob",
                wrapper=parts.get("wrapper") or "",
                flag={"0": "false", "1": "true", None: ""}[parts.get("flag")],
                dtype=DTYPES[parts["element"]],
                width=int(parts.get("width") or 1),
                index_bits=INDEX_BITS[parts.get("index") or "l"],
            )
    raise ValueError(f"unknown kind of kernel: {symbol}")


class Instruction(NamedTuple):
    address: int
    predicate: str
    opcode: str
    operands: str

    @property
    def name(self) -> str:
        return self.opcode.split(".", 1)[0]

    @property
    def is_wide_load(self) -> bool:
        return self.name == "LDG" and "128" in self.opcode.split(".")

    @property
    def is_wide_store(self) -> bool:
        return self.name == "STG" and "128" in self.opcode.split(".")

    @property
    def is_wide_access(self) -> bool:
        """Whether it moves 16 bytes of global memory for each thread."""
        return self.is_wide_load or self.is_wide_store

    @property
    def is_local_access(self) -> bool:
        return self.name in ("LDL", "STL")


class Function(NamedTuple):
    symbol: str
    instructions: list[Instruction]


def cuobjdump() -> str | None:
    """Return the path of the tool: on PATH, or in Triton's package."""
    if found := shutil.which("cuobjdump"):
        return found
    triton = importlib.util.find_spec("triton")
    for folder in triton.submodule_search_locations if triton else ():
        tool = Path(folder) / "backends" / "nvidia" / "bin" / "cuobjdump"
        if tool.is_file():
            return str(tool)
    return None


def output_of(tool: str, *arguments: str) -> Iterator[str]:
    """Yield the lines that `tool` prints, while it runs.

    Raises:
        RuntimeError: it failed.
    """
    with subprocess.Popen([tool, *arguments], stdout=subprocess.PIPE, text=True) as process:
        yield from process.stdout
    if process.returncode != 0:
        raise RuntimeError(f"{tool} {' '.join(arguments)} failed: {process.returncode}")


def architectures(tool: str, library: Path) -> list[str]:
    """Return those that the library has machine code for, the oldest first."""
    lines = output_of(tool, "--list-elf", str(library))
    return in_order({_ARCHITECTURE.search(line)[0] for line in lines if line.startswith("ELF")})


def in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (int(re.search(r"\d+", name)[0]), name))


def functions(lines: Iterable[str]) -> Iterator[Function]:
    """Yield what `cuobjdump -sass` lists, one at a time: all of it would not fit in memory."""
    function = None
    for line in lines:
        if line.startswith("        /*"):
            if function and (match := _INSTRUCTION.match(line)):
                address, predicate, opcode, operands = match.groups(default="")
                function.instructions.append(
                    Instruction(int(address, 16), predicate, opcode, operands)
                )
        elif "Function :" in line:
            if function:
                yield function
            function = Function(line.split(":", 1)[1].strip(), [])
    if function:
        yield function


def disassembly(tool: str, library: Path, architecture: str) -> Iterator[Function]:
    return functions(output_of(tool, "-sass", "-arch", architecture, str(library)))
