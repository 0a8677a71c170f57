"""Triton's interpreter, made fast enough for a whole test suite."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

from choices import choice_of_this_test

# Programs of several rows of tiles, and programs that take whole small tensors at once.
TILE_SIZES = (1024, 32768, 32768, 32768)


@contextlib.contextmanager
def fast_interpreter() -> Iterator[None]:
    """Interpret with tiles of a size that depends on the test."""
    from stc_ops.triton_backend import launch

    _speed_up()
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
