"""Triton's interpreter, made fast enough for a whole test suite, and rounding as GPUs do."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from choices import choice_of_this_test

# Programs of several rows of tiles, and programs that take whole small tensors at once.
TILE_SIZES = (1024, 32768, 32768, 32768)


@contextlib.contextmanager
def fast_interpreter() -> Iterator[None]:
    """Interpret with tiles of a size that depends on the test."""
    from stc_ops.triton_backend import launch

    _speed_up()
    _round_bfloat16_to_nearest()
    with mock.patch.object(launch, "TILE_SIZE", choice_of_this_test(TILE_SIZES)):
        yield


@functools.cache
def _speed_up() -> None:
    """Let the interpreter do once what it does anew whenever a kernel calls a function.

    It replaces the functions of the language for every such call, which is half of its time; those
    of the kernel that calls are replaced already. Another quarter goes to checks of integer sums
    against overflow: what offsets can be is tested by itself.
    """
    from triton.runtime import interpreter

    replaced = set()

    def call(function: interpreter.InterpretedFunction, *args: Any, **kwargs: Any) -> Any:
        module = function.fn.__module__
        if module.startswith("triton.") and module not in replaced:
            interpreter._patch_lang(function.fn)
            replaced.add(module)
        return function.rewrite()(*args, **kwargs)

    interpreter.InterpretedFunction.__call__ = call
    builder = interpreter.interpreter_builder
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)


@functools.cache
def _round_bfloat16_to_nearest() -> None:
    """Let the interpreter round float32 to the nearest bfloat16, where it cuts the bits off.

    Cutting is a bias: the networks' errors are three to four times those of a GPU.
    """
    from triton import language as tl
    from triton.runtime import interpreter

    cut = interpreter.InterpreterBuilder.cast_impl

    def cast(self: Any, source: Any, target: Any) -> Any:
        if (source.dtype.scalar, target.scalar) != (tl.float32, tl.bfloat16):
            return cut(self, source, target)
        rounded = torch.tensor(source.data).bfloat16().view(torch.uint16).numpy()
        return interpreter.TensorHandle(rounded, tl.bfloat16)

    interpreter.InterpreterBuilder.cast_impl = cast
