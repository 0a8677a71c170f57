"""The launches of Triton kernels, written down instead of run, and compiled ahead of time."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.autotuner import Autotuner

from stc_ops.triton_backend import installation, launch

TARGETS = {
    **{f"sm_{arch}": GPUTarget("cuda", arch, 32) for arch in (75, 80, 86, 89, 90, 100, 120)},
    "gfx942": GPUTarget("hip", "gfx942", 64),
    "gfx1100": GPUTarget("hip", "gfx1100", 32),
}

_POINTERS = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
}
_DIVISIBLE_BY_16 = [["tt.divisibility", 16]]


@dataclasses.dataclass(frozen=True)
class Launch:
    """What one compilation of a kernel depends on."""

    kernel: Any
    signature: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]
    divisible: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the name of the kernel."""
        return self.function.__name__

    @property
    def function(self) -> Any:
        """Return the kernel without what tunes it."""
        return _untuned(self.kernel)

    @property
    def configs(self) -> list[triton.Config]:
        """Return everything that it may be run with."""
        return self.kernel.configs if isinstance(self.kernel, Autotuner) else [triton.Config({})]

    @property
    def elements(self) -> int:
        """Return how many elements a program takes at once."""
        constants = dict(self.constants)
        return constants["BLOCK_G"] * constants.get("BLOCK_R", 1)

    def compile(self, target: str, config: triton.Config) -> Any:
        """Compile it for a target that need not be here."""
        constants = {**dict(self.constants), **config.kwargs}
        names = [parameter.name for parameter in self.function.params]
        signature = {**dict(self.signature), **dict.fromkeys(constants, "constexpr")}
        source = ASTSource(
            fn=self.function,
            signature={name: signature[name] for name in names},
            constexprs={(names.index(name),): value for name, value in constants.items()},
            attrs={(names.index(name),): _DIVISIBLE_BY_16 for name in self.divisible},
        )
        options = {"num_warps": config.num_warps}
        if TARGETS[target].backend == "cuda":
            options |= launch.NVIDIA_OPTIONS
        return triton.compile(source, target=TARGETS[target], options=options)


@contextlib.contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Let operators on CPU tensors launch Triton kernels, which are only written down."""
    launches: dict[Launch, None] = {}

    def record(kernel: Any, grid: Any, **arguments: Any) -> None:
        launches[_launch_of(kernel, arguments)] = None

    result: list[Launch] = []
    library = torch.library.Library("stc_ops", "IMPL")
    installation._install(library, "cpu")
    try:
        with mock.patch.object(launch, "run", record):
            yield result
    finally:
        library._destroy()
        result += launches


def _untuned(kernel: Any) -> Any:
    return kernel.fn if isinstance(kernel, Autotuner) else kernel


def _launch_of(kernel: Any, arguments: dict[str, Any]) -> Launch:
    signature, constants, divisible = [], [], []
    for parameter in _untuned(kernel).params:
        if parameter.name not in arguments:
            continue  # what the configurations say
        name, value = parameter.name, arguments[parameter.name]
        if parameter.is_constexpr or value is None or (isinstance(value, int) and value == 1):
            constants.append((name, value))
        elif isinstance(value, torch.Tensor):
            signature.append((name, _POINTERS[value.dtype]))
            if value.storage_offset() * value.element_size() % 16 == 0:
                divisible.append(name)
        else:
            signature.append((name, "i32" if abs(value) < 2**31 else "i64"))
            if value % 16 == 0:
                divisible.append(name)
    return Launch(kernel, tuple(signature), tuple(constants), tuple(divisible))
