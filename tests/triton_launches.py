"""The launches of Triton kernels, written down instead of run, and compiled ahead of time."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
import triton
from triton.backends.amd.compiler import HIPBackend
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend

from stc_ops.triton_backend import installation, launch

TARGETS = {
    **{f"sm_{arch}": GPUTarget("cuda", arch, 32) for arch in (70, 75, 80, 86, 89, 90, 100, 120)},
    "gfx942": GPUTarget("hip", "gfx942", 64),
    "gfx1100": GPUTarget("hip", "gfx1100", 32),
}

# What maps may choose among.
STEPS = tuple(steps for steps in (1, 2, 4, 8) if steps <= launch.MOST_STEPS)

_POINTERS = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
}
# How Triton writes down that a number, or an address, is a multiple of 16.
_DIVISIBLE = "D"


@dataclasses.dataclass(frozen=True)
class Launch:
    """What one compilation of a kernel depends on, but for the device."""

    kernel: Any
    signature: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]
    attributes: tuple[tuple[str, str], ...]
    takes_whole_buffers: bool

    @property
    def name(self) -> str:
        """Return the name of the kernel."""
        return self.kernel.__name__

    @property
    def elements(self) -> int:
        """Return how many elements a program takes at once."""
        constants = dict(self.constants)
        return constants["BLOCK_G"] * constants.get("BLOCK_R", 1)

    def in_every_configuration(self, itemsize: int) -> list[Launch]:
        """Return it with everything that may be chosen for its shape of tile, of any size."""
        constants = dict(self.constants)
        if "STEPS" not in constants:
            return [self]
        tile = launch.Tile(constants["BLOCK_G"], constants["BLOCK_R"])
        possible = {
            launch.steps_of(tile.groups, rows, tile, itemsize, multiprocessors=1)
            for rows in (tile.rows * launch.PROGRAMS_PER_MULTIPROCESSOR * steps for steps in STEPS)
        }
        return [
            dataclasses.replace(self, constants=tuple({**constants, "STEPS": steps}.items()))
            for steps in sorted(possible)
        ]

    def compile(self, target: str | GPUTarget) -> Any:
        """Compile it, as it is launched, for a target that need not be here."""
        gpu = TARGETS[target] if isinstance(target, str) else target
        constants = dict(self.constants)
        names = [parameter.name for parameter in self.kernel.params]
        signature = {**dict(self.signature), **dict.fromkeys(constants, "constexpr")}
        parse = make_backend(gpu).parse_attr
        source = ASTSource(
            fn=self.kernel,
            signature={name: signature[name] for name in names},
            constexprs={(names.index(name),): value for name, value in constants.items()},
            attrs={(names.index(name),): parse(text) for name, text in self.attributes},
        )
        options = launch.options_for(gpu.backend, gpu.warp_size)
        return triton.compile(source, target=gpu, options=options)


@contextlib.contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Let operators on CPU tensors launch Triton kernels, which are only written down."""
    launches: dict[Launch, None] = {}

    def record(kernel: Any, grid: Any, **arguments: Any) -> None:
        launches[_launch_of(kernel, arguments)] = None

    result: list[Launch] = []
    library = torch.library.Library("stc_ops", "IMPL")
    installation.register(library, "cpu", lambda device: True)
    try:
        with mock.patch.object(launch, "run", record):
            yield result
    finally:
        library._destroy()
        result += launches


def _launch_of(kernel: Any, arguments: dict[str, Any]) -> Launch:
    signature, constants, attributes = [], [], []
    for parameter in kernel.params:
        name, value = parameter.name, arguments[parameter.name]
        if parameter.is_constexpr or value is None or (isinstance(value, int) and value == 1):
            constants.append((name, value))
        elif isinstance(value, torch.Tensor):
            signature.append((name, _POINTERS[value.dtype]))
            # More than of others is said of tensors below 2 GiB for AMD's GPUs.
            attributes.append((name, HIPBackend.get_tensor_specialization(value, align=True)))
        else:
            signature.append((name, "i32" if abs(value) < 2**31 else "i64"))
            attributes.append((name, _DIVISIBLE if value % 16 == 0 else ""))
    whole = all(
        value.numel() * value.element_size() == value.untyped_storage().nbytes()
        for value in arguments.values()
        if isinstance(value, torch.Tensor)
    )
    return Launch(kernel, tuple(signature), tuple(constants), tuple(attributes), whole)
