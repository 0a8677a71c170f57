"""How the benchmarks measure on a device, proven where there is no GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import devices
import measure
import networks
import pytest
import timing
import torch
import ways
from devices import CPU, CUDA
from fused import FUSED
from matrix import Setting, Traffic
from parameters import row
from primitives import PRIMITIVES

from stc_ops.measuring import seconds_of

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
SMALL = Setting(1, 2, 16, 3, "float32", "nhwc")

NO_GPU = "this machine has no CUDA device"
without_a_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


class Stream:
    """A device that does what is launched when somebody waits for it, and says what happened."""

    def __init__(self):
        self.log = []
        self.launched_ms = 0.0
        self.done_ms = 0.0

    def launch(self, name, milliseconds):
        self.log.append(name)
        self.launched_ms += milliseconds

    def event(self, enable_timing):
        assert enable_timing
        return Event(self)


class Event:
    def __init__(self, stream):
        self.stream = stream
        self.at_ms = None

    def record(self):
        self.stream.log.append("event")
        self.at_ms = self.stream.launched_ms

    def synchronize(self):
        self.stream.log.append("wait")
        self.stream.done_ms = max(self.stream.done_ms, self.at_ms)

    def elapsed_time(self, later):
        assert later.at_ms <= self.stream.done_ms, "the device is not there yet"
        return later.at_ms - self.at_ms


@pytest.fixture
def stream(monkeypatch):
    stream = Stream()
    monkeypatch.setattr(torch.cuda, "Event", stream.event)
    return stream


class Benchmark:
    """What `time_in_turns` needs of pytest-benchmark's fixture."""

    median = 1.0

    def __init__(self):
        self.stats = self

    def pedantic(self, run, setup, rounds):
        self.rounds = rounds
        for _ in range(rounds):
            setup()
            run()


class TestClock:
    def test_of_a_gpu_has_an_event_either_side_of_the_call_and_waits_once(self, stream):
        stream.launch("before", 40.0)
        seconds = seconds_of(lambda: stream.launch("call", 2.5), CUDA.now)
        assert seconds == pytest.approx(2.5e-3)
        assert stream.log == ["before", "event", "call", "event", "wait"]

    def test_of_the_cpu_is_the_wall_clock(self):
        assert CPU.now is time.perf_counter
        assert seconds_of(lambda: time.sleep(0.01), CPU.now) >= 0.01


# pytest-benchmark itself takes the clock: its times are those that the events say.
ROW = """
import torch
from devices import CUDA
from test_benchmark_devices import Stream
from parameters import row
from timing import time_in_turns
import pytest

stream = Stream()
torch.cuda.Event = stream.event
device = CUDA._replace(name="cpu", evicted_bytes=lambda: 8, why_not=lambda: None)

@pytest.mark.parametrize("name", [row(device, "name")])
def test_row(benchmark, name):
    run, other = (lambda: stream.launch("run", 20.0)), (lambda: stream.launch("other", 60.0))
    ratios = time_in_turns(benchmark, device, run, {"other": other})
    benchmark.extra_info.update(ratios, waits=stream.log.count("wait"))
"""


def test_pytest_benchmark_reports_what_the_events_say(tmp_path):
    (tmp_path / "test_row.py").write_text(ROW)
    results = tmp_path / "results.json"
    run_pytest(tmp_path, tmp_path / "test_row.py", f"--benchmark-json={results}")
    (benchmark,) = json.loads(results.read_text())["benchmarks"]
    assert benchmark["stats"]["median"] == pytest.approx(20e-3)
    assert benchmark["stats"]["rounds"] == timing.MIN_ROUNDS
    warm_up_calls, calls_of_a_round = 4, 2
    assert benchmark["extra_info"] == {
        "other": pytest.approx(3.0),
        "waits": warm_up_calls + calls_of_a_round * timing.MIN_ROUNDS,
    }


def run_pytest(folder, *arguments):
    # From another folder than the checkout, whose stc_ops would hide the installed one.
    options = ["-p", "no:cacheprovider", "-rs", "-q", f"--rootdir={folder}", "-o"]
    folders = f"pythonpath={BENCHMARKS} {ROOT / 'tests'}"
    command = [sys.executable, "-m", "pytest", *options, folders, *map(str, arguments)]
    # Options of the run around it, such as several processes, are none of this one.
    environment = {n: value for n, value in os.environ.items() if not n.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class TestCaches:
    def test_are_overwritten_before_every_call(self, monkeypatch):
        log = []
        monkeypatch.setattr(torch.Tensor, "fill_", lambda tensor, value: log.append(len(tensor)))
        device = CPU._replace(evicted_bytes=lambda: 24)
        benchmark = Benchmark()
        timing.time_in_turns(
            benchmark, device, lambda: log.append("run"), {"other": lambda: log.append("other")}
        )
        assert log[:4] == ["run", "run", "other", "other"]
        assert log[4:] == [24, "other", 24, "run"] * benchmark.rounds

    def test_of_a_gpu_are_its_l2_and_overwritten_by_twice_that(self, monkeypatch):
        class Properties:
            L2_cache_size = 50 * 2**20

        monkeypatch.setattr(torch.cuda, "get_device_properties", Properties)
        assert CUDA.evicted_bytes() == 100 * 2**20
        assert CPU.evicted_bytes() == 64 * 2**20


class TestPeakMemory:
    def test_is_beside_what_was_allocated_before(self, monkeypatch):
        allocated = {"now": 1000, "peak": 9000}

        def grow(size):
            allocated["peak"] = max(allocated["peak"], allocated["now"] + size)

        memory = {
            "memory_allocated": lambda: allocated["now"],
            "max_memory_allocated": lambda: allocated["peak"],
            "reset_peak_memory_stats": lambda: allocated.update(peak=allocated["now"]),
        }
        for name, function in memory.items():
            monkeypatch.setattr(torch.cuda, name, function)
        assert devices.peak_memory(CUDA, lambda: grow(30), lambda: grow(40)) == {
            "peak_bytes": 30,
            "fraction_of_peak_bytes": 0.75,
        }

    def test_is_not_counted_on_the_cpu(self):
        assert devices.peak_memory(CPU, lambda: 1 / 0, lambda: 1 / 0) == {}


def names(rows):
    return [each.values for each in rows]


def marks(parameter):
    return {mark.name: mark for mark in parameter.marks}


EVERY_KIND = {
    "fused": measure.rows(FUSED),
    "primitive": measure.rows(PRIMITIVES),
    "training": networks.rows(ways.TRAINING),
    "evaluation": networks.rows(ways.EVALUATION),
}


class TestRows:
    @pytest.mark.parametrize("kind", EVERY_KIND)
    def test_of_a_gpu_are_those_of_the_cpu(self, kind):
        on_gpu = [each for each in EVERY_KIND[kind] if "gpu" in marks(each)]
        on_cpu = [each for each in EVERY_KIND[kind] if "gpu" not in marks(each)]
        assert EVERY_KIND[kind] == on_cpu + on_gpu
        assert [each for each in names(on_gpu) if each[-1] != "triton"] == [
            (*mode, "cuda" if backend == "cpu" else f"{backend}-on-cuda")
            for *mode, backend in names(on_cpu)
        ]
        in_triton, compiled = (
            [mode for *mode, backend in names(on_gpu) if backend == kernels]
            for kernels in ("triton", "cuda")
        )
        assert in_triton == compiled
        assert all(marks(each)["benchmark"].kwargs == {"timer": CUDA.now} for each in on_gpu)
        assert all(marks(each)["benchmark"].kwargs == {"timer": CPU.now} for each in on_cpu)

    @without_a_gpu
    @pytest.mark.parametrize("kind", EVERY_KIND)
    def test_of_a_gpu_are_skipped_without_one(self, kind):
        reasons = [
            marks(each)["skip"].kwargs["reason"]
            for each in EVERY_KIND[kind]
            if "gpu" in marks(each)
        ]
        assert reasons
        assert set(reasons) == {NO_GPU}

    def test_run_where_there_is_a_gpu(self):
        here = CUDA._replace(why_not=lambda: None)
        assert "skip" not in marks(row(here, "cuda"))
        assert marks(row(here, "cuda", why_not="no"))["skip"].kwargs == {"reason": "no"}

    @pytest.mark.parametrize("missing", ["cuda", "triton"])
    def test_of_a_gpu_need_their_own_kernels_only(self, monkeypatch, missing):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        for module in (measure, ways):
            monkeypatch.setattr(module, "why_not", lambda name, _: name == missing and "missing")
        for rows in (measure.rows(FUSED), networks.rows(ways.TRAINING)):
            on_gpu = [each for each in rows if "gpu" in marks(each)]
            skipped = {each.values[-1] for each in on_gpu if "skip" in marks(each)}
            assert skipped == {missing}

    @without_a_gpu
    def test_are_collected_and_counted(self, tmp_path):
        gpu_rows = ["-m", "gpu", "--benchmark-only"]
        output = run_pytest(tmp_path, BENCHMARKS / "test_networks.py", *gpu_rows)
        assert "10 skipped" in output
        assert NO_GPU in output

    def test_are_compared_with_what_runs_there(self):
        for device, runtimes in ((CPU, {"openvino", "openvino_tsn"}), (CUDA, set())):
            everywhere = {"eager", "eager_folded", "compiled", "compiled_eager", "compiled_tsn"}
            if find_spec("openvino") is None:
                runtimes = set()
            assert ways.competitors(ways.EVALUATION, device, True).keys() == everywhere | runtimes
            assert ways.competitors(ways.TRAINING, device, False).keys() == {"eager"}


# Every pass that is measured launches Triton's kernels, and eager PyTorch in turns with it none.
IN_TRITON = """
import functools
import measure, networks, stc_ops, ways
from devices import CPU
from fused import FUSED
from matrix import Setting
from primitives import PRIMITIVES

from stc_ops.cli import bench_networks
from stc_ops.models.catalog import Network
from stc_ops.triton_backend import launch
from triton_interpreter import fast_interpreter

interpreter = fast_interpreter()
interpreter.__enter__()
launches = []
run_kernel = launch.run
launch.run = lambda *arguments, **named: (launches.append(named), run_kernel(*arguments, **named))

class Benchmark:
    disabled = True

    def __call__(self, run):
        before = len(launches)
        run()
        assert len(launches) > before, self.group

device = CPU._replace(backends=("cpu", "triton"))
measure.DEVICES = networks.DEVICES = (device,)
small = Setting(1, 2, 16, 3, "float32", "nhwc")
for family in (PRIMITIVES, FUSED):
    for operator in family.operators:
        for mode in family.modes:
            measure.measure(Benchmark(), family, operator, small, mode, "triton", False)

small_network = functools.partial(
    stc_ops.models.video_resnet, stc_ops.nn.STC, depths=(1, 1, 1, 1), widths=(16, 16, 16, 16)
)
bench_networks.NETWORKS = {"stc": Network("STC", small_network, "")}
frames = Setting(1, 8, 3, 32, "float32", "nhwc")
networks.measure_network(Benchmark(), "triton", frames, ways.TRAINING, False)
before = len(launches)
networks.group_of(frames, ways.TRAINING, device).step(ways.COMPETITORS["eager"])()
assert len(launches) == before
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_rows_of_triton_run_its_kernels(tmp_path):
    command = [sys.executable, "-c", IN_TRITON]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "STC_OPS_BACKEND": ""}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


class TestPlacement:
    """The meta device tells any other one from the CPU."""

    meta = CUDA._replace(name="meta")

    @pytest.mark.parametrize("family", [FUSED, PRIMITIVES], ids=lambda family: family.name)
    def test_of_operators(self, family):
        for operator in family.operators.values():
            inputs = measure.random_inputs(operator, SMALL, self.meta)
            assert all(tensor.is_meta for part in inputs for tensor in part)
            for mode in set(family.modes) - {"backward-operator"}:
                for way in (measure.EAGER, measure.REFERENCE):
                    results = measure.workload(operator, SMALL, mode, way, inputs)()
                    assert all(result.is_meta for result in results.values())

    def test_of_floors(self):
        for traffic in (Traffic(800, 400), Traffic(40, 400)):
            floor = measure.floor_of_pass(traffic, torch.ones(200, device="meta"))
            assert all(result.is_meta for result in floor())
            measure.floor([traffic], self.meta)()

    @pytest.mark.parametrize("mode", ways.MODES)
    def test_of_networks(self, mode):
        (setting,) = networks.settings(1)
        group = networks.Group(setting, mode, self.meta)
        way = ways.COMPETITORS["eager"]
        assert all(result.is_meta for result in group.step(way)().values())
        if mode == ways.TRAINING:
            group.saved_bytes(way)
