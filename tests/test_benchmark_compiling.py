"""What is compiled for the benchmarks is of fixed sizes, and nothing is while times are taken."""

from __future__ import annotations

import compiling
import measure
import pytest
import torch
from fused import FUSED
from matrix import Setting

SMALL = Setting(1, 4, 16, 4, "float32", "nhwc")


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    compiling.start_over()
    yield
    compiling.start_over()


def twice(x):
    return x.relu() * 2


def test_each_size_is_compiled_for_itself():
    compiled = compiling.compile_static(twice)
    before = compiling._graphs
    for size in (3, 4, 5):
        x = torch.randn(size, size)
        torch.testing.assert_close(compiled(x), twice(x))
    assert compiling._graphs == before + 3


@pytest.mark.parametrize("dynamic", [None, True])
def test_sizes_that_may_change_are_refused(dynamic):
    """Without ``dynamic=False`` the second size is compiled for any."""
    compiled = torch.compile(twice, fullgraph=True, dynamic=dynamic, backend=compiling._inductor)
    with pytest.raises(Exception, match="compiled for sizes that may change"):
        [compiled(torch.randn(size, size)) for size in (3, 4)]


def test_compiling_while_times_are_taken_is_refused():
    compiled = compiling.compile_static(twice)
    compiled(torch.ones(3))
    with compiling.nothing_compiled():
        compiled(torch.ones(3))
    with (
        pytest.raises(AssertionError, match="1 graphs were compiled while times were taken"),
        compiling.nothing_compiled(),
    ):
        compiled(torch.ones(4))


class Benchmark:
    """Runs a row once, and lets nothing be compiled then."""

    disabled = True

    def __call__(self, run):
        with compiling.nothing_compiled():
            run()


def test_rows_of_an_operator_share_what_is_compiled():
    before = compiling._graphs
    for mode in ("training-forward", "training-both"):
        measure.measure(Benchmark(), FUSED, "bn_add_relu", SMALL, mode, "cpu", True)
    assert compiling._graphs == before + len(measure.COMPILED)
