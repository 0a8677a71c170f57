"""The report of benchmark runs: from pytest-benchmark's JSON to a table and a figure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import report
from results import read_results

ROOT = Path(__file__).parents[1]

OPERATOR = {
    "family": "fused",
    "operator": "bn_add_relu",
    "mode": "eval-forward",
    "backend": "cpu",
    "clips": 8,
    "num_segments": 8,
    "channels": 64,
    "height": 56,
    "dtype": "float32",
    "memory_format": "nhwc",
    "stage": "64x56",
    "gb_per_s": 20.0,
    "fraction_of_floor": 0.876,
    "times_eager": 2.34,
    "times_compiled": 0.96,
}
NETWORK = {
    "family": "network",
    "operator": "stc",
    "mode": "training-step",
    "backend": "cpu",
    "clips": 1,
    "num_segments": 8,
    "channels": 3,
    "height": 224,
    "dtype": "float32",
    "memory_format": "nhwc",
    "stage": "3x224",
    "times_eager": 1.25,
    "saved_bytes": 600,
    "fraction_of_saved_bytes": 0.75,
}
MACHINE = {
    "machine": "x86_64",
    "cpu": {"brand_raw": "Some CPU"},
    "cpu_capability": "AVX512",
    "threads": 2,
    "torch": "2.13.0",
}


def run_of(*rows, seconds=0.1, **machine):
    benchmarks = [{"stats": {"median": seconds}, "extra_info": row} for row in rows]
    return {"machine_info": MACHINE | machine, "benchmarks": benchmarks}


def written(folder, run, name="results.json"):
    path = folder / name
    path.write_text(json.dumps(run))
    return path


@pytest.fixture
def results(tmp_path):
    """Return a function that reads runs."""

    def read(*runs):
        paths = [written(tmp_path, run, f"{number}.json") for number, run in enumerate(runs)]
        return read_results(paths)

    return read


def lines_of_table(results):
    from report_tables import markdown

    text = markdown(results, "Benchmarks", "figure.png")
    return [line for line in text.splitlines() if line.startswith("| ")]


class TestTable:
    def test_operators(self, results):
        last_stage = OPERATOR | {"channels": 512, "height": 7, "times_eager": 11.0}
        del last_stage["times_compiled"]
        titles, _, line = lines_of_table(results(run_of(OPERATOR, last_stage)))
        assert titles == (
            "| operator | pass | × the fastest of these | × eager PyTorch | "
            "× torch.compile of the layers | of the floor |"
        )
        assert line == (
            "| `bn_add_relu` | evaluation | 1.0 / 11.0 | 2.3 / 11.0 | 1.0 / – | 0.88 / 0.88 |"
        )

    def test_networks(self, results):
        titles, _, line = lines_of_table(results(run_of(NETWORK, seconds=0.5)))
        assert titles == (
            "| network | pass | clips | by | ms | × the fastest of these | × eager PyTorch | "
            "saved for backward, of eager |"
        )
        assert line == (
            "| STC-ResNet-50 | training step | 1 | fused operators | 500 | 1.25 | 1.25 | 0.75 |"
        )

    def test_other_networks_are_not_among_the_fastest(self, results):
        ratios = {"times_openvino": 1.5, "times_compiled_tsn": 0.5, "times_compiled_eager": 1.1}
        titles, _, line = lines_of_table(results(run_of(NETWORK | ratios)))
        cells = dict(zip(titles.split(" | "), line.split(" | "), strict=True))
        assert cells["× the fastest of these"] == "1.10"
        assert cells["× TSN in torch.compile"] == "0.50"

    def test_a_table_for_each_setting(self, results):
        low_precision = OPERATOR | {"dtype": "bfloat16"}
        contiguous = OPERATOR | {"memory_format": "nchw"}
        table = lines_of_table(results(run_of(low_precision, contiguous, OPERATOR)))
        assert len(table) == 3 * len(lines_of_table(results(run_of(OPERATOR))))

    def test_median_of_several_runs(self, results):
        runs = [run_of(OPERATOR | {"times_eager": ratio}) for ratio in (1.0, 3.0, 9.0)]
        *_, line = lines_of_table(results(*runs))
        assert "| 3.0 |" in line

    def test_parts_of_one_run_are_one_run(self, results):
        assert results(run_of(OPERATOR), run_of(NETWORK)).runs == 1
        assert results(run_of(OPERATOR), run_of(NETWORK), run_of(OPERATOR)).runs == 2

    def test_the_allocator_is_stated_where_it_is_not_the_default(self, results):
        assert "GLIBC" not in results(run_of(OPERATOR, allocator="default")).machine
        kept = results(run_of(OPERATOR, allocator="glibc.malloc.mmap_max=0"))
        assert kept.machine.endswith("`GLIBC_TUNABLES=glibc.malloc.mmap_max=0`")

    def test_a_gpu_is_named(self, results):
        machine = results(run_of(OPERATOR, gpu="Some GPU", driver="580.1", cuda="13.0")).machine
        assert machine.endswith("torch 2.13.0, Some GPU (driver 580.1, CUDA 13.0, no TF32)")

    @pytest.mark.parametrize(
        ("backend", "way"),
        [
            ("cuda", "fused operators on the GPU"),
            ("triton", "fused operators on the GPU, in Triton"),
            ("optimized-on-cuda", "optimize_for_inference on the GPU"),
        ],
    )
    def test_rows_of_a_gpu(self, results, backend, way):
        row = NETWORK | {"backend": backend, "fraction_of_peak_bytes": 0.5}
        titles, _, line = lines_of_table(results(run_of(row)))
        assert f"| {way} |" in line
        assert titles.endswith("| peak memory, of eager |")
        assert line.endswith("| 0.50 |")

    def test_other_benchmarks_are_ignored(self, results):
        assert len(results(run_of({"something": "else"}, OPERATOR)).rows) == 1


class TestFigure:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        pytest.importorskip("matplotlib")

    def bars(self, results):
        from report_figure import draw

        return [
            [round(1 + bar.get_height(), 6) for bar in axes.patches]
            for axes in draw(results).get_axes()
        ]

    def test_bars_are_the_ratios(self, results):
        last_stage = OPERATOR | {"channels": 512, "height": 7, "times_eager": 0.5}
        training = OPERATOR | {"mode": "training-both", "times_eager": 12.0}
        rows = [OPERATOR, last_stage, training, NETWORK]
        assert self.bars(results(run_of(*rows))) == [
            [2.34, 0.96, 0.5, 0.96],
            [12.0, 0.96],
            [1.25],
        ]

    @pytest.mark.parametrize("row", [OPERATOR, NETWORK, OPERATOR | {"family": "primitive"}])
    def test_of_one_kind_alone(self, results, row):
        assert len(self.bars(results(run_of(row)))) == 1

    def test_all_bars_and_the_line_at_one_are_in_view(self, results):
        from report_figure import draw

        slower = OPERATOR | {"times_eager": 0.3, "times_compiled": 0.2}
        (axes,) = draw(results(run_of(slower))).get_axes()
        lowest, highest = axes.get_ylim()
        assert lowest < 0.2
        assert highest > 1


class TestCommand:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        pytest.importorskip("matplotlib")

    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "report"
        folder.mkdir()
        return folder

    def error_of(self, capsys, *arguments):
        assert report.main([str(argument) for argument in arguments]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        (line,) = output.err.splitlines()
        return line.removeprefix("report.py: error: ")

    def test_writes_table_and_figure(self, tmp_path, folder):
        path = written(tmp_path, run_of(OPERATOR, NETWORK))
        script = ROOT / "benchmarks" / "report.py"
        command = [sys.executable, script, path, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(folder / name) for name in (report.TABLE, report.FIGURE)]
        assert (folder / report.FIGURE).read_bytes().startswith(b"\x89PNG")
        assert f"]({report.FIGURE})" in (folder / report.TABLE).read_text()
        assert len(list(folder.iterdir())) == 2

    def test_missing_file(self, tmp_path, folder, capsys):
        path = tmp_path / "none.json"
        expected = f"cannot read '{path}': No such file or directory"
        assert self.error_of(capsys, path, folder) == expected

    @pytest.mark.parametrize("content", ["", "{", "\0"])
    def test_not_json(self, tmp_path, folder, capsys, content):
        path = tmp_path / "results.json"
        path.write_text(content)
        assert self.error_of(capsys, path, folder) == (
            f"'{path}' is not JSON; is the run that writes it complete?"
        )

    @pytest.mark.parametrize("content", [[], {}, {"benchmarks": 1}, {"benchmarks": [1]}])
    def test_other_json(self, tmp_path, folder, capsys, content):
        path = written(tmp_path, content)
        assert self.error_of(capsys, path, folder) == (
            f"'{path}' is not what pytest --benchmark-json writes"
        )

    @pytest.mark.parametrize("rows", [[], [{"something": "else"}]])
    def test_no_rows(self, tmp_path, folder, capsys, rows):
        path = written(tmp_path, run_of(*rows))
        assert self.error_of(capsys, path, folder) == (
            f"'{path}' has no rows of these benchmarks: "
            f"pytest benchmarks --benchmark-only --benchmark-json={path}"
        )

    def test_runs_of_different_machines(self, tmp_path, folder, capsys):
        paths = [
            written(tmp_path, run_of(OPERATOR, threads=threads), f"{threads}.json")
            for threads in (1, 2)
        ]
        error = self.error_of(capsys, *paths, folder)
        assert error.startswith("runs of different machines cannot go into one report: ")
        assert "1 threads" in error
        assert "2 threads" in error

    def test_missing_folder(self, tmp_path, capsys):
        path = written(tmp_path, run_of(OPERATOR))
        folder = tmp_path / "none"
        assert self.error_of(capsys, path, folder) == (
            f"cannot write '{folder / report.FIGURE}': No such file or directory"
        )

    def test_failure_leaves_what_was_there(self, tmp_path, folder, monkeypatch):
        (folder / report.FIGURE).write_bytes(b"earlier")
        path = written(tmp_path, run_of(OPERATOR))

        def fail(*arguments):
            raise RuntimeError

        monkeypatch.setattr(report, "markdown", fail)
        with pytest.raises(RuntimeError):
            report.main([str(path), str(folder)])
        assert [each.name for each in folder.iterdir()] == [report.FIGURE]
        assert (folder / report.FIGURE).read_bytes() == b"earlier"

    def test_without_matplotlib(self, tmp_path, folder, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        monkeypatch.delitem(sys.modules, "report_figure", raising=False)
        path = written(tmp_path, run_of(OPERATOR))
        assert self.error_of(capsys, path, folder) == (
            "the figure needs matplotlib: pip install 'stc_ops[plot]'"
        )
