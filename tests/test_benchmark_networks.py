"""What networks compete with computes the same, and what differs is not timed."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

import networks
import pytest
import small_networks
import torch
import ways
from devices import CPU
from matrix import Setting
from torch import nn

from stc_ops.cli import bench_networks
from stc_ops.models import tsm_resnet50
from stc_ops.models.catalog import Network
from stc_ops.nn import SpatialBranch, TemporalBranch

SIZE = {"depths": (2, 1, 1, 1), "widths": (16, 16, 16, 16)}
SETTING = Setting(1, 8, 3, 64, "float32", "nhwc")

both_modes = pytest.mark.parametrize("mode", ways.MODES)


@pytest.fixture(autouse=True)
def small_catalog(monkeypatch):
    small = {
        name: Network(name, partial(small_networks.NETWORKS[name], **SIZE), "")
        for name in ("tsn", "stc")
    }
    monkeypatch.setattr(bench_networks, "NETWORKS", small)
    networks.group_of.cache_clear()
    # Small networks are not worth dividing, least of all beside other work on the machine.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    networks.group_of.cache_clear()


@pytest.fixture
def group():
    return networks.Group(SETTING, ways.TRAINING, CPU)


MUTATIONS = ("no shift", "reversed", "no gate of frames", "no gate", "eps")


class Untimed:
    disabled = True

    def __call__(self, run):
        run()


@both_modes
@pytest.mark.parametrize("network", ["stc", "tsn"])
def test_eager_computes_what_the_reference_does(network, mode):
    group = networks.Group(SETTING, mode, CPU)
    reference = ways.Way(ways._layer_by_layer, network, ways._reference)
    eager = [ways.COMPETITORS[name] for name in ("eager", "eager_folded")]
    for way in (each for each in eager if each.runs(mode, CPU)):
        actual, expected = (
            group.step(each)() for each in (way._replace(network=network), reference)
        )
        networks.verify("eager", actual, expected)


@both_modes
def test_all_that_is_measured_agrees(mode):
    for name in ways.own_ways(mode, CPU):
        networks.measure_network(Untimed(), name, SETTING, mode, with_compile=False)


def test_openvino_is_measured_where_it_is_installed():
    beside = ways.competitors(ways.EVALUATION, CPU, with_compile=False)
    assert ("openvino" in beside) == (find_spec("openvino") is not None)


def test_other_blocks_are_refused():
    with torch.device("meta"):
        network = tsm_resnet50()
    with pytest.raises(TypeError, match=r"layer1\.0 is of layers that are not written in eager"):
        ways._eager(network, None)


def test_fewer_bytes_are_saved_for_backward(group):
    assert group.saved_bytes(ways.fused("cpu")) < 0.9 * group.saved_bytes(ways.COMPETITORS["eager"])


class TestVerify:
    @pytest.mark.parametrize("factor", [0.0, 0.9, float("nan")])
    def test_a_single_small_gradient(self, group, factor):
        expected = group.step(ways.COMPETITORS["eager"])()
        for name in (
            "fc.bias",
            "bn1.weight",
            "layer2.0.conv2.temporal.refine.gate_network.gate.weight",
        ):
            gradient = f"the gradient of {name}"
            wrong = {**expected, gradient: expected[gradient] * factor}
            with pytest.raises(AssertionError, match=f"fused: .* {gradient} by"):
                networks.verify("fused", wrong, expected)

    @pytest.mark.parametrize(
        "mutation", ["no shift", "reversed", "no gate of frames", "no gate", "eps"]
    )
    @both_modes
    def test_mutations(self, mode, mutation):
        group = networks.Group(SETTING, mode, CPU)

        def mutated(network, frames):
            for module in list(network.modules()):
                mutate(module, mutation)
            return ways._layer_by_layer(network, frames)

        wrong = group.step(ways.Way(mutated, context=ways._reference))()
        expected = group.step(ways.COMPETITORS["eager"])()
        with pytest.raises(AssertionError, match="differs from eager PyTorch"):
            networks.verify("fused", wrong, {name: expected[name] for name in wrong})


def mutate(module, mutation):
    if mutation == "eps" and isinstance(module, nn.BatchNorm2d):
        module.eps = 1e-3
    if isinstance(module, SpatialBranch) and mutation == "no shift":
        module.shift = nn.Identity()
    if isinstance(module, SpatialBranch) and mutation == "reversed":
        module.shift = Reversed(module.shift)
    if isinstance(module, SpatialBranch) and mutation == "no gate of frames":
        module.refine = nn.Identity()
    if isinstance(module, TemporalBranch) and mutation == "no gate":
        module.refine = nn.Identity()


class Reversed(nn.Module):
    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, x):
        return self.shift(x.flip(0)).flip(0)
