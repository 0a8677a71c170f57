"""What measures time, memory and differences measures right."""

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


class TestRelativeDifference:
    def test_is_of_all_values_together(self):
        want = [torch.tensor([3.0]), torch.tensor([[4.0]])]
        got = [torch.tensor([3.0]), torch.tensor([[4.5]])]
        assert measuring.relative_difference(got, want) == pytest.approx(0.1)

    @pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
    def test_of_what_is_not_finite_is_within_no_tolerance(self, wrong):
        want = [torch.ones(2), torch.ones(3)]
        got = [torch.ones(2), torch.tensor([1.0, wrong, 1.0])]
        assert not measuring.relative_difference(got, want) <= 1e6

    def test_of_another_number_of_tensors(self):
        with pytest.raises(ValueError, match="longer"):
            measuring.relative_difference([torch.ones(1)], [torch.ones(1)] * 2)
