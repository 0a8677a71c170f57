"""What interpreted Triton kernels read and write, counted from the masks of loads and stores."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import torch

from stc_ops.triton_backend import launch

# Values per channel are read by every program, from a cache.
PER_CHANNEL = (
    "coefficients",
    "identity_coefficients",
    "grad_coefficients",
    "identity_grad_coefficients",
)


class Moved(NamedTuple):
    """Bytes of one tensor of one launch."""

    size: int
    read: int
    written: int


class _Tensors:
    """The tensors of the launch that runs, by address, and what it has moved of them."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.ranges = {
            name: _range_of(value)
            for name, value in arguments.items()
            if isinstance(value, torch.Tensor) and value.numel() > 0
        }
        self.read: Counter[str] = Counter()
        self.written: Counter[str] = Counter()

    def count(self, counter: Counter[str], pointers: Any, mask: Any) -> None:
        addresses = pointers.data[mask.data]
        if addresses.size == 0:
            return
        least, most = int(addresses.min()), int(addresses.max())
        itemsize = pointers.get_element_ty().primitive_bitwidth // 8
        name = next(
            name
            for name, (first, end) in self.ranges.items()
            if first <= least and most + itemsize <= end
        )
        counter[name] += addresses.size * itemsize

    def moved(self) -> dict[str, Moved]:
        return {
            name: Moved(end - first, self.read[name], self.written[name])
            for name, (first, end) in self.ranges.items()
            if name not in PER_CHANNEL
        }


def _range_of(tensor: torch.Tensor) -> tuple[int, int]:
    # Splits write to what surrounds a part of their scratch.
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.data_ptr() + storage.nbytes()


@contextlib.contextmanager
def counted() -> Iterator[list[tuple[str, dict[str, Moved]]]]:
    """Yield a list that grows by the kernel and the tensors of every launch inside."""
    from triton.runtime.interpreter import interpreter_builder

    launches: list[tuple[str, dict[str, Moved]]] = []
    running: list[_Tensors] = []
    load, store = interpreter_builder.create_masked_load, interpreter_builder.create_masked_store
    run = launch.run

    def counting_load(pointers: Any, mask: Any, *others: Any) -> Any:
        running[-1].count(running[-1].read, pointers, mask)
        return load(pointers, mask, *others)

    def counting_store(pointers: Any, value: Any, mask: Any, *others: Any) -> Any:
        running[-1].count(running[-1].written, pointers, mask)
        return store(pointers, value, mask, *others)

    def counting_run(kernel: Any, grid: Any, **arguments: Any) -> None:
        running.append(_Tensors(arguments))
        run(kernel, grid, **arguments)
        launches.append((kernel.__name__, running.pop().moved()))

    with (
        mock.patch.object(interpreter_builder, "create_masked_load", counting_load),
        mock.patch.object(interpreter_builder, "create_masked_store", counting_store),
        mock.patch.object(launch, "run", counting_run),
    ):
        yield launches
