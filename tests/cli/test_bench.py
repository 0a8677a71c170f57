"""What `stc-ops bench models` measures, prints and writes."""

import contextlib
import csv
import io
import os
import re

import pytest
import torch
from bench_cases import CATALOG, SETTING, SMALL, use_catalog
from torch import nn

from stc_ops.cli import bench, bench_models, bench_networks
from stc_ops.cli.bench_networks import Setting
from stc_ops.cli.errors import CommandError
from stc_ops.cli.main import main
from stc_ops.cost import cost
from stc_ops.models import NETWORKS, VideoResNet

HEADER = (
    "network,title,mode,variant,num_segments,clips,size,dtype,device,threads,median_seconds,"
    "low_seconds,high_seconds,clips_per_second,times_faster_than_reference,times_tsn,peak_bytes,"
    "saved_bytes,parameters,macs,machine,backend,torch,allocator"
)
VARIANTS = [
    ("eval", "optimized"),
    ("eval", "fused"),
    ("eval", "reference"),
    ("training", "fused"),
    ("training", "reference"),
]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small_catalog(monkeypatch):
    use_catalog(monkeypatch, CATALOG)


def run(capsys, *arguments):
    assert main(["bench", "models", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run the whole command once; return what it printed and wrote."""
    path = tmp_path_factory.mktemp("bench") / "rows.csv"
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        use_catalog(patch, CATALOG)
        arguments = ["stc", "tsn", "stc", *SMALL, "--clips", "2", "--output", str(path)]
        assert main(["bench", "models", *arguments]) == 0
    assert path.read_text().splitlines()[0] == HEADER
    assert list(path.parent.iterdir()) == [path]
    return printed.getvalue().splitlines(), read(path)


class TestRows:
    @pytest.fixture
    def rows(self, finished):
        return finished[1]

    def test_every_variant_of_every_network_once(self, rows):
        found = [(row["network"], row["title"], row["mode"], row["variant"]) for row in rows]
        assert found == [
            (network, network.upper(), mode, variant)
            for network in ("stc", "tsn")
            for mode, variant in VARIANTS
        ]

    def test_setting(self, rows):
        for row in rows:
            setting = [row[each] for each in HEADER.split(",")[4:10]]
            assert setting == ["2", "2", "64", "float32", "cpu", str(torch.get_num_threads())]

    def test_times(self, rows):
        for row in rows:
            low, median, high = (
                float(row[f"{each}_seconds"]) for each in ("low", "median", "high")
            )
            assert 0 < low <= median <= high
            assert float(row["clips_per_second"]) == pytest.approx(2 / median)
        for network in (rows[:5], rows[5:]):
            for variants in (network[:3], network[3:]):
                reference = float(variants[-1]["median_seconds"])
                for row in variants:
                    times_faster = reference / float(row["median_seconds"])
                    assert float(row["times_faster_than_reference"]) == pytest.approx(times_faster)

    def test_tsn_is_the_yardstick_of_evaluations(self, rows):
        assert all(float(row["times_tsn"]) > 0 for row in rows[:3])
        assert {row["times_tsn"] for row in rows[5:8]} == {"1.0"}
        assert {row["times_tsn"] for row in (*rows[3:5], *rows[8:])} == {""}

    def test_machine(self, rows, monkeypatch):
        for row in rows:
            of_machine = (row["backend"], row["torch"], row["allocator"])
            assert of_machine == (
                "cpu",
                torch.__version__,
                os.environ.get("GLIBC_TUNABLES") or "freed memory kept",
            )
            assert row["machine"]

    def test_memory(self, rows):
        parameters = 4 * int(rows[0]["parameters"])
        for row in rows:
            is_training = row["mode"] == "training"
            assert int(row["peak_bytes"]) > (parameters if is_training else 0)
            assert (row["saved_bytes"] != "") == is_training
        for fused, reference in (rows[3:5], rows[8:]):
            saved = int(fused["saved_bytes"])
            assert 0 < saved < 0.9 * int(reference["saved_bytes"])
            assert saved < int(fused["peak_bytes"])

    def test_cost_is_of_one_clip(self, rows):
        of_stc = cost(CATALOG["stc"].builder(174, 2), (2, 3, 64, 64))
        for row in rows[:5]:
            assert (int(row["parameters"]), int(row["macs"])) == of_stc


class TestOutput:
    def test_table(self, finished):
        machine, setting, empty, headings, units, *rows = finished[0]
        threads = torch.get_num_threads()
        assert re.fullmatch(
            rf".+, {threads} threads?, torch {re.escape(torch.__version__)}, backend 'cpu'", machine
        )
        assert setting == (
            "2 clips of 2 frames of 64x64, float32, channels_last, medians of 2 rounds in turns"
        )
        assert empty == ""
        assert headings.split()[:5] == ["network", "mode", "variant", "median", "20-80"]
        assert units.split()[:4] == ["ms", "ms", "per", "s"]
        expected = [(title, *each) for title in ("STC", "TSN") for each in VARIANTS]
        assert [tuple(row.split()[:3]) for row in rows] == expected
        assert len({len(line) for line in (headings, *rows)}) == 1

    def test_table_has_the_values_of_the_file(self, finished):
        (*_, of_table), (*_, of_file) = finished
        cells = of_table.split()
        assert cells[3] == f"{1e3 * float(of_file['median_seconds']):.1f}"
        assert cells[5] == f"{float(of_file['clips_per_second']):.2f}"
        assert cells[6] == "1.00"
        memory = [f"{int(of_file[each]) / 2**20:.1f}" for each in ("peak_bytes", "saved_bytes")]
        assert cells[7:9] == memory
        assert cells[9:] == [
            f"{int(of_file['parameters']) / 1e6:.3f}",
            f"{int(of_file['macs']) / 1e9:.3f}",
        ]

    @pytest.mark.parametrize("mode", ["eval", "training"])
    def test_one_mode(self, mode, capsys):
        rows = run(capsys, "tsn", *SMALL, "--mode", mode)[5:]
        assert [row.split()[1] for row in rows] == [mode] * len(rows)
        assert len(rows) == [each for each, _ in VARIANTS].count(mode)

    def test_all_networks_in_the_order_of_the_catalog(self, monkeypatch, capsys):
        asked = []

        def measure(names, *arguments):
            asked.append((names, *arguments[:-1]))
            raise CommandError("enough")

        monkeypatch.setattr(bench, "measure", measure)
        assert main(["bench", "models", "--mode", "training"]) == 2
        assert asked == [(("tsn", "stc"), Setting(8, 1, 224, "float32", "cpu"), ("training",), 11)]

    def test_bfloat16(self, tmp_path, capsys):
        path = tmp_path / "rows.csv"
        frames = ["--num-segments", "8"]
        run(capsys, "stc", *SMALL, *frames, "--dtype", "bfloat16", "--output", path)
        rows = read(path)
        assert [row["dtype"] for row in rows] == ["bfloat16"] * 5
        assert int(rows[3]["saved_bytes"]) < 0.9 * int(rows[4]["saved_bytes"])

    def test_figure(self, tmp_path, capsys):
        pytest.importorskip("matplotlib")
        path = tmp_path / "rows.svg"
        run(capsys, "tsn", *SMALL, "--mode", "eval", "--plot", path)
        assert path.read_text().startswith("<?xml")
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
    def test_on_a_gpu(self, tmp_path, capsys):
        path = tmp_path / "rows.csv"
        machine, *_ = run(capsys, *SMALL, "--device", "cuda", "--output", path)
        assert machine.startswith(torch.cuda.get_device_name())
        rows = read(path)
        assert [(row["mode"], row["variant"]) for row in rows] == VARIANTS * 2
        assert all(float(row["median_seconds"]) > 0 for row in rows)
        assert all(int(row["peak_bytes"]) > 0 for row in rows)


class TestMeasure:
    def test_variants_and_tsn_are_timed_in_turns(self, monkeypatch):
        timed = []
        seconds = {"optimized": 3.0, "fused": 4.0, "reference": 6.0}
        seconds |= {"tsn optimized": 2.0, "tsn fused": 5.0, "tsn reference": 6.0}

        def seconds_in_turns(functions, device, rounds, on_round):
            timed.append((list(functions), rounds))
            return {name: [seconds[name] + more for more in (0, 0, 1)] for name in functions}

        monkeypatch.setattr(bench_models, "seconds_in_turns", seconds_in_turns)
        rows = bench_models.measure(["stc"], SETTING, rounds=7)
        assert timed == [
            (list(seconds), 7),
            (["fused", "reference"], 7),
        ]
        assert [row.median_seconds for row in rows] == [3, 4, 6, 4, 6]
        assert [row.times_faster_than_reference for row in rows] == [2, 1.5, 1, 1.5, 1]
        assert [row.times_tsn for row in rows] == [1.5, 0.8, 1, None, None]
        assert [row.low_seconds for row in rows] == [3, 4, 6, 4, 6]
        assert [row.high_seconds for row in rows] == pytest.approx([3.6, 4.6, 6.6, 4.6, 6.6])

    def test_progress_counts_the_rounds_of_all(self):
        steps = []
        bench_models.measure(["tsn", "stc"], SETTING, ["eval"], 2, lambda *step: steps.append(step))
        assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def test_nothing_is_timed_before_it_is_verified(self, monkeypatch):
        def wrong(*arguments):
            raise AssertionError

        monkeypatch.setattr(bench_models, "seconds_in_turns", None)
        monkeypatch.setattr(bench_models, "verify", wrong)
        with pytest.raises(AssertionError):
            bench_models.measure(["tsn"], SETTING)


class TestNetworks:
    def test_are_the_same_every_time_and_leave_the_random_state(self):
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        first, second = (bench_networks.build("stc", SETTING).state_dict() for _ in range(2))
        assert torch.equal(torch.rand(3), expected)
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_weights_and_frames_are_channels_last(self):
        model = bench_networks.build("tsn", SETTING)
        for tensor in (model.layer1[0].conv2.weight, bench_networks.random_frames(SETTING)):
            assert tensor.is_contiguous(memory_format=torch.channels_last)

    def test_a_step_leaves_no_gradients(self):
        model = bench_networks.build("tsn", SETTING)
        steps = bench_networks.trainings(model, bench_networks.random_frames(SETTING))
        results = steps.variants["fused"]()
        names = [f"the gradient of {name}" for name, _ in model.named_parameters()]
        assert list(results) == ["the loss", *names]
        assert all(parameter.grad is None for parameter in model.parameters())

    @pytest.mark.parametrize("variant", ["fused", "reference"])
    def test_variants_run_what_they_are_called(self, variant, monkeypatch):
        called = set()
        monkeypatch.setattr(
            nn.BatchNorm2d, "forward", watching(nn.BatchNorm2d.forward, "layers", called)
        )
        model = bench_networks.build("stc", SETTING)
        steps = bench_networks.evaluations(model, bench_networks.random_frames(SETTING))
        steps.variants[variant]()
        assert called == ({"layers"} if variant == "reference" else set())

    def test_all_of_the_catalog_are_counted_and_can_be_built(self, monkeypatch):
        use_catalog(monkeypatch, NETWORKS)
        for name in NETWORKS:
            counted = bench_networks.cost_of(name, SETTING)
            assert counted.parameters > 10e6
            assert counted.macs > 1e8

    def test_one_of_the_catalog_with_weights_of_five_axes(self, monkeypatch):
        use_catalog(monkeypatch, NETWORKS)
        model = bench_networks.build("gst", SETTING)
        assert isinstance(model, VideoResNet)
        assert {each.ndim for each in model.parameters()} >= {4, 5}


def watching(forward, name, called):
    def watched(self, *arguments):
        called.add(name)
        return forward(self, *arguments)

    return watched
