"""What measures time, memory and differences measures right."""

import math
import os
import time

import pytest
import torch
from torch import nn

from stc_ops import measuring

KIBI = 2**10


class TestPeakBytes:
    def test_is_the_most_allocated_at_a_time(self):
        def function():
            first = torch.empty(1000 * KIBI, dtype=torch.uint8)
            del first
            second = torch.empty(700 * KIBI, dtype=torch.uint8)
            third = torch.empty(500 * KIBI, dtype=torch.uint8)
            return second, third

        assert measuring.peak_bytes(function, "cpu") == 1200 * KIBI

    def test_counts_buffers_inside_of_operators(self):
        x = torch.randn(100, 100)[:, ::2]
        # A product needs a dense copy of what it reads.
        peak = measuring.peak_bytes(lambda: torch.linalg.inv(x[:50]), "cpu")
        assert peak > 2 * 50 * 50 * 4

    def test_counts_backward(self):
        x = torch.zeros(1000 * KIBI // 4, requires_grad=True)

        def function():
            x.exp().sum().backward()
            x.grad = None

        assert measuring.peak_bytes(function, "cpu") >= 2000 * KIBI

    def test_does_not_count_what_was_there(self):
        held = [torch.empty(1000 * KIBI, dtype=torch.uint8)]
        assert measuring.peak_bytes(held.clear, "cpu") == 0

    def test_is_silent(self, capfd):
        measuring.peak_bytes(lambda: torch.empty(10), "cpu")
        assert capfd.readouterr() == ("", "")

    def test_leaves_stderr_as_it_was_after_an_error(self, capfd):
        with pytest.raises(ZeroDivisionError):
            measuring.peak_bytes(lambda: 1 / 0, "cpu")
        os.write(2, b"still there")
        assert capfd.readouterr().err == "still there"


class TestSecondsInTurns:
    def test_every_round_calls_each_once_from_cold_caches(self, monkeypatch):
        log = []
        monkeypatch.setattr(torch.Tensor, "fill_", lambda tensor, value: log.append(len(tensor)))
        seconds = measuring.seconds_in_turns(
            {"first": lambda: log.append("first"), "second": lambda: log.append("second")},
            "cpu",
            3,
            lambda: log.append("round"),
        )
        evicted = measuring.evicted_bytes("cpu")
        assert log == [evicted, "first", evicted, "second", "round"] * 3
        assert {name: len(each) for name, each in seconds.items()} == {"first": 3, "second": 3}

    def test_are_those_of_the_call(self):
        seconds = measuring.seconds_in_turns(
            {"sleep": lambda: time.sleep(0.01), "nothing": lambda: None}, "cpu", 2, lambda: None
        )
        assert min(seconds["sleep"]) >= 0.01 > min(seconds["nothing"])


def test_saved_bytes_are_counted_once_and_without_parameters():
    class Layer(nn.Linear):
        def forward(self, x):
            out = super().forward(x).exp()
            return out * out

    x = torch.randn(8, 4)
    assert measuring.saved_bytes(Layer(4, 16), x) == 4 * (8 * 4 + 8 * 16)


class TestRelativeErrors:
    def test_are_of_each_tensor(self):
        want = {"first": torch.tensor([3.0, 4.0]), "second": torch.tensor([[1e-6]])}
        got = {"first": torch.tensor([3.0, 4.5]), "second": torch.tensor([[2e-6]])}
        errors = measuring.relative_errors(got, want)
        assert errors == pytest.approx({"first": 0.1, "second": 1.0})

    @pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
    def test_of_what_is_not_finite_are_within_no_tolerance(self, wrong):
        errors = measuring.relative_errors({"x": torch.tensor([1.0, wrong])}, {"x": torch.ones(2)})
        assert not errors["x"] <= 1e6

    def test_of_zeros(self):
        zeros = {"x": torch.zeros(2)}
        assert measuring.relative_errors(zeros, zeros) == {"x": 0}
        assert measuring.relative_errors({"x": torch.full((2,), 1e-9)}, zeros) == {"x": math.inf}

    def test_of_another_shape(self):
        errors = measuring.relative_errors({"x": torch.ones(2)}, {"x": torch.ones(1)})
        assert errors == {"x": math.inf}


class TestFirstDifference:
    def difference(self, plain=0.0, **factors):
        exact = {"large": torch.full((1000,), 100.0), "small": torch.tensor([1e-3])}
        actual = {name: each * factors.get(name, 1.0) for name, each in exact.items()}
        plain = {name: each * (1 + plain) for name, each in exact.items()}
        tolerance = measuring.Tolerance(1e-3, 2.0, at_most=0.9)
        return measuring.first_difference(actual, exact, plain, tolerance)

    def test_of_small_tensors_beside_large_ones(self):
        assert self.difference() is None
        assert self.difference(small=1.0009) is None
        expected = "small by 1 of its norm, and 0.001 is allowed"
        assert self.difference(small=0.0) == expected
        assert self.difference(small=float("nan")) == expected.replace("by 1", "by nan")

    def test_what_is_allowed_follows_plain_pytorch(self):
        assert self.difference(plain=0.1, large=1.19) is None
        expected = "large by 0.21 of its norm, and 0.2 is allowed"
        assert self.difference(plain=0.1, large=1.21) == expected
        assert self.difference(plain=0.8, small=0.0) == "small by 1 of its norm, and 0.9 is allowed"

    def test_of_what_is_missing(self):
        one, two = {"x": torch.ones(1)}, {"x": torch.ones(1), "y": torch.ones(1)}
        tolerance = measuring.Tolerance(1.0, 1.0)
        for arguments in ((one, two, two), (two, one, one), (two, two, one)):
            difference = measuring.first_difference(*arguments, tolerance)
            assert difference == "only one of them has y"
