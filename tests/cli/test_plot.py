"""Figures of measurements and of results: points, texts, files, errors."""

from __future__ import annotations

import csv
import sys
from fractions import Fraction

import pytest
from bench_cases import CATALOG, use_catalog
from bench_cases import SETTING as SMALL_SETTING
from command_line import error_line
from figure_texts import assert_texts_stay_on_the_page_and_apart, texts_of

from stc_ops.cli import measurements, plot
from stc_ops.cli.bench_models import Row
from stc_ops.cli.bench_networks import Setting
from stc_ops.cli.bench_report import Machine, write_csv
from stc_ops.cli.main import main
from stc_ops.cli.measurements import COLUMNS, Measurements, measure_now, read_measurements
from stc_ops.cli.tradeoff import counted_macs, one_clip_accuracies
from stc_ops.cli.variants import quoted_results, read_results

SETTING = {"clips": "1", "size": "224", "dtype": "float32", "device": "cpu", "threads": "2"}
ROW = {
    "network": "stc",
    "mode": "eval",
    "variant": "fused",
    "num_segments": "8",
    "median_seconds": "0.5",
    **SETTING,
}

EXPECTED = Measurements({("stc", 8): 0.25}, SETTING)


def write_rows(path, rows):
    """Write a file like those of `stc-ops bench models`, each row with changes of `ROW`."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["title", *COLUMNS])
        writer.writeheader()
        writer.writerows({**ROW, **changes} for changes in rows)
    return path


@pytest.fixture
def output(tmp_path):
    pytest.importorskip("matplotlib")
    return tmp_path / "figure.svg"


class TestMeasurements:
    def test_fastest_variant_of_this_package_by_clip(self, tmp_path):
        rows = [
            {"variant": "fused", "median_seconds": "2.0"},
            {"variant": "optimized", "median_seconds": "1.5"},
            {"variant": "reference", "median_seconds": "0.1"},
            {"mode": "training", "median_seconds": "0.1"},
            {"network": "tsm", "median_seconds": "3"},
        ]
        path = write_rows(tmp_path / "times.csv", [{**row, "clips": "2"} for row in rows])
        measured = read_measurements([path])
        assert measured.seconds == {("stc", 8): 0.75, ("tsm", 8): 1.5}
        assert measured.setting == {**SETTING, "clips": "2"}

    def test_of_several_runs(self, tmp_path):
        short = write_rows(tmp_path / "8.csv", [{}])
        long = write_rows(tmp_path / "16.csv", [{"num_segments": "16", "median_seconds": "1.25"}])
        assert read_measurements([short, long]).seconds == {("stc", 8): 0.5, ("stc", 16): 1.25}

    def test_round_trip(self, measured_rows, tmp_path):
        machine = Machine("a processor", 2, "cpu", "2.13.0")
        write_csv(measured_rows, machine, tmp_path / "times.csv")
        assert read_measurements([tmp_path / "times.csv"]) == EXPECTED

    def test_now(self, one_thread, monkeypatch):
        use_catalog(monkeypatch, CATALOG)
        monkeypatch.setattr(measurements, "Setting", lambda: SMALL_SETTING)
        seconds, setting = measure_now(["stc"], lambda done, total: None)
        assert list(seconds) == [("stc", SMALL_SETTING.num_segments)]
        assert all(value > 0 for value in seconds.values())
        assert setting == {**SETTING, "size": str(SMALL_SETTING.size), "threads": "1"}

    @pytest.fixture
    def measured_rows(self):
        """Return what `stc-ops bench models stc --mode eval` gives."""
        none = dict.fromkeys(Row._fields)
        setting = {**Setting()._asdict(), "threads": 2}
        return [
            Row(
                **{
                    **none,
                    **setting,
                    "network": "stc",
                    "mode": "eval",
                    "variant": variant,
                    "median_seconds": seconds,
                }
            )
            for variant, seconds in (("optimized", 0.25), ("fused", 0.5), ("reference", 0.125))
        ]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"mode": "test"}, "mode must be one of eval, training, got 'test'"),
            (
                {"variant": "compiled"},
                "variant must be one of fused, optimized, reference, got 'compiled'",
            ),
            ({"num_segments": "8.5"}, "num_segments must be an integer, at least 1, got '8.5'"),
            ({"clips": "0"}, "clips must be an integer, at least 1, got '0'"),
            *(
                (
                    {"median_seconds": text},
                    f"median_seconds must be a positive number of seconds, got '{text}'",
                )
                for text in ("", "fast", "0", "-1", "nan", "inf")
            ),
        ],
    )
    def test_wrong_values(self, output, tmp_path, capsys, changes, message):
        path = write_rows(tmp_path / "times.csv", [changes])
        assert self.error(capsys, output, path) == f"stc-ops: error: '{path}' line 2: {message}"

    def test_unknown_network(self, output, tmp_path, capsys):
        path = write_rows(tmp_path / "times.csv", [{"network": "vgg"}])
        error = self.error(capsys, output, path)
        assert error.startswith(f"stc-ops: error: '{path}' line 2: network must be one of tsn, ")
        assert error.endswith(", got 'vgg'")

    def test_several_settings(self, output, tmp_path, capsys):
        path = write_rows(tmp_path / "times.csv", [{}, {"network": "tsm", "dtype": "bfloat16"}])
        assert self.error(capsys, output, path) == (
            f"stc-ops: error: '{path}' line 3: dtype must be 'float32' as in '{path}' line 2, "
            "got 'bfloat16'"
        )

    def test_no_evaluation(self, output, tmp_path, capsys):
        path = write_rows(tmp_path / "times.csv", [{"mode": "training"}])
        assert self.error(capsys, output, path) == (
            f"stc-ops: error: '{path}' has no row of mode eval and variant fused or optimized"
        )

    def error(self, capsys, output, path):
        return error_line(capsys, "plot", "tradeoff", "--measurements", path, "--output", output)


@pytest.fixture(scope="module")
def accuracies():
    return one_clip_accuracies()


@pytest.fixture(scope="module")
def macs(accuracies):
    return counted_macs(accuracies, lambda done, total: None)


class TestTradeoff:
    @pytest.fixture(autouse=True)
    def figure(self):
        pytest.importorskip("matplotlib")
        from stc_ops.cli import tradeoff_figure

        return tradeoff_figure

    def test_accuracies_are_those_of_one_clip(self, accuracies):
        quoted = {(*each.setting, each.table): each.top1 for each in accuracies}
        assert quoted == {
            ("tsn", 8, "IV"): 19.7,
            ("tin", 8, "IV"): 45.8,
            ("tin", 16, "IV"): 47.0,
            ("tam", 8, "IV"): 46.5,
            ("tam", 16, "IV"): 47.6,
            ("gst", 8, "IV"): 47.0,
            ("gst", 16, "IV"): 48.6,
            ("tea", 8, "IV"): 48.9,
            ("stc", 8, "IV"): 48.3,
            ("stc", 16, "IV"): 50.5,
            ("stc-light", 8, "IV"): 48.2,
            ("stc-light", 16, "IV"): 50.4,
            ("c3d", 8, "II"): 46.2,
            ("p3d", 8, "II"): 45.7,
            ("tsm", 8, "II"): 45.6,
            ("gst-large", 8, "II"): 47.7,
        }

    def test_macs_are_counted(self, macs):
        billions = {setting: f"{value / 1e9:.3f}" for setting, value in macs.items()}
        expected = {
            ("tsm", 8): "32.878",
            ("c3d", 8): "62.473",
            ("gst", 8): "29.178",
            ("stc", 8): "26.853",
            ("stc", 16): "53.590",
            ("stc-light", 16): "53.490",
        }
        assert expected.items() <= billions.items()

    def times(self, macs, kind):
        """Return measurements that spread or crowd the points of the right panel."""
        seconds = {
            "like-macs": {setting: value / 1e11 for setting, value in macs.items()},
            "all-equal": dict.fromkeys(macs, 0.4),
            "eight-frames": {setting: 0.3 for setting in macs if setting[1] == 8},
            "one": {("stc", 8): 0.31},
            "wide": {setting: 10.0**place for place, setting in enumerate(macs, start=-8)},
        }
        return Measurements(seconds[kind], SETTING)

    @pytest.mark.parametrize("kind", ["like-macs", "all-equal", "eight-frames", "one", "wide"])
    def test_texts_stay_on_the_page_and_apart(self, figure, accuracies, macs, kind, monkeypatch):
        drawn = figure.draw_tradeoff(accuracies, macs, self.times(macs, kind))
        assert assert_texts_stay_on_the_page_and_apart(drawn, monkeypatch) > 30

    def test_points_are_drawn_where_they_are(self, figure, accuracies, macs):
        measured = self.times(macs, "like-macs")
        left, right = figure.draw_tradeoff(accuracies, macs, measured).axes
        shown = [each for each in accuracies if each.network.name != "tsn"]
        for axes, costs, unit in ((left, macs, 1e9), (right, measured.seconds, 1e-3)):
            drawn = {
                (round(x, 6), y)
                for line in axes.lines
                if line.get_marker() != "None"
                for x, y in zip(*line.get_data(), strict=True)
            }
            assert drawn == {(round(costs[each.setting] / unit, 6), each.top1) for each in shown}

    def test_what_is_left_out_is_named(self, figure, accuracies, macs):
        drawn = figure.draw_tradeoff(accuracies, macs, self.times(macs, "one"))
        notes = " ".join(text for text in texts_of(drawn) if len(text) > 30)
        assert (
            "TSN (19.7 %, below the axis); STM (no accuracy of one clip); not measured: " in notes
        )
        assert "STC (16 frames), STC-Light (8 and 16 frames)" in notes
        assert "quoted from the paper, nothing here was trained" in notes
        assert "TIN on Kinetics" in notes

    def test_command(self, macs, tmp_path, output, monkeypatch, capsys):
        monkeypatch.setattr(plot, "counted_macs", lambda accuracies, on_count: macs)
        path = write_rows(tmp_path / "times.csv", [{}])
        arguments = ["plot", "tradeoff", "--measurements", str(path), "--output", str(output)]
        assert main(arguments) == 0
        assert capsys.readouterr().out == f"{output}\n"
        assert output.read_bytes().startswith(b"<?xml")


LINES = "variant,alpha,top1\nSTC,0,24\nSTC,3/4,48.3\nSTC,1,47.5\nNonShift-STC,0.75,47\n"


class TestVariants:
    @pytest.fixture
    def results(self, tmp_path):
        path = tmp_path / "results.csv"
        path.write_text(LINES)
        return path

    def test_results(self, results):
        assert read_results(results) == {
            "STC": {Fraction(0): 24, Fraction(3, 4): 48.3, Fraction(1): 47.5},
            "NonShift-STC": {Fraction(3, 4): 47},
        }

    def test_other_columns_spaces_and_a_byte_order_mark(self, tmp_path):
        path = tmp_path / "results.csv"
        path.write_text("top1, seed ,alpha, variant\n\n 30, 7,1/4 ,STC\n", encoding="utf-8-sig")
        assert read_results(path) == {"STC": {Fraction(1, 4): 30}}

    def test_the_papers_points(self):
        alphas = [Fraction(number, 4) for number in range(5)]
        assert quoted_results() == {
            "Sim-STC": {0: 12.3, 1: 17.7},
            "NonShift-STC": {0: 24.9},
            "STC": dict(zip(alphas, (24.9, 41.9, 46.4, 48.3, 47.3), strict=True)),
        }

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "'{}' is empty"),
            ("\n\n", "'{}' is empty"),
            ("variant,alpha,top1\n", "'{}' has no rows below its columns"),
            (
                "variant,alpha,accuracy\nSTC,0,1\n",
                "'{}' line 1: must name the columns variant, alpha, top1, "
                "got variant, alpha, accuracy",
            ),
            (
                "variant,alpha,top1\nSTC,0,1\nSTC,1\n",
                "'{}' line 3: must have 3 values, got 2",
            ),
            (
                "variant,alpha,top1\nSTM,0,1\n",
                "'{}' line 2: variant must be one of Sim-STC, NonShift-STC, STC, got 'STM'",
            ),
            *(
                (
                    f"variant,alpha,top1\nSTC,{alpha},1\n",
                    f"'{{}}' line 2: alpha must be one of 0, 1/4, 2/4, 3/4, 1, got '{alpha}'",
                )
                for alpha in ("", "0.3", "1/0", "half", "nan")
            ),
            *(
                (
                    f"variant,alpha,top1\nSTC,1/2,{top1}\n",
                    f"'{{}}' line 2: top1 must be a percentage from 0 to 100, got '{top1}'",
                )
                for top1 in ("", "100.1", "-1", "nan", "high")
            ),
            (
                "variant,alpha,top1\nSTC,1/2,40\nSTC,0.5,41\n",
                "'{}' line 3: STC must come once for every alpha, got alpha = 0.5 again",
            ),
            (b"\xff\xfe\x00", "'{}' is not CSV in UTF-8"),
        ],
    )
    def test_wrong_files(self, output, results, content, message, capsys):
        results.write_bytes(content if isinstance(content, bytes) else content.encode())
        arguments = ("plot", "shift-and-refinement", results, "--output", output)
        expected = f"stc-ops: error: {message.format(results)}"
        assert error_line(capsys, *arguments) == expected
        assert list(output.parent.iterdir()) == [results]

    def test_missing_file(self, output, tmp_path, capsys):
        path = tmp_path / "none.csv"
        arguments = ("plot", "shift-and-refinement", path, "--output", output)
        assert error_line(capsys, *arguments) == (
            f"stc-ops: error: cannot read '{path}': No such file or directory"
        )

    @pytest.mark.parametrize("paper", [(), ("--paper",)])
    def test_command(self, output, results, paper, capsys):
        arguments = ["plot", "shift-and-refinement", str(results), "--output", str(output), *paper]
        assert main(arguments) == 0
        assert capsys.readouterr().out == f"{output}\n"
        assert output.read_bytes().startswith(b"<?xml")

    @pytest.mark.parametrize("top1", [(20, 30, 40), (30, 30, 30), (30, 30.2, 29.9)])
    @pytest.mark.parametrize("paper", [False, True])
    def test_texts_stay_on_the_page_and_apart(self, output, top1, paper, monkeypatch):
        from stc_ops.cli.variants_figure import draw_variants

        alphas = [Fraction(number, 4) for number in range(5)]
        variants = dict(zip(("Sim-STC", "NonShift-STC", "STC"), top1, strict=True))
        results = {variant: dict.fromkeys(alphas, value) for variant, value in variants.items()}
        title = "WIDE " * 50
        drawn = draw_variants(results, quoted_results() if paper else {}, title)
        assert assert_texts_stay_on_the_page_and_apart(drawn, monkeypatch) > 10
        assert {"Sim-STC", "NonShift-STC", "STC"} <= set(texts_of(drawn))

    def test_one_point(self, output, monkeypatch):
        from stc_ops.cli.variants_figure import draw_variants

        drawn = draw_variants({"STC": {Fraction(1, 4): 30.0}}, {}, "results.csv")
        assert_texts_stay_on_the_page_and_apart(drawn, monkeypatch)

    def test_help_shows_the_columns(self, capsys):
        with pytest.raises(SystemExit):
            main(["plot", "shift-and-refinement", "--help"])
        assert "  variant,alpha,top1\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("tradeoff",),
        ("tradeoff", "--measurements", "times.csv"),
        ("shift-and-refinement", "results.csv"),
    ],
    ids=["tradeoff", "measured-tradeoff", "shift-and-refinement"],
)
class TestOutput:
    @pytest.fixture(autouse=True)
    def nothing_is_read(self, monkeypatch):
        monkeypatch.setattr(plot, "read_measurements", None)
        monkeypatch.setattr(plot, "measure_now", None)
        monkeypatch.setattr(plot, "read_results", None)

    def test_without_matplotlib(self, arguments, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        assert error_line(capsys, "plot", *arguments, "--output", tmp_path / "a.png") == (
            "stc-ops: error: stc-ops plot needs matplotlib: pip install 'stc_ops[plot]'"
        )

    def test_unknown_format(self, arguments, tmp_path, capsys):
        pytest.importorskip("matplotlib")
        path = tmp_path / "figure.mp3"
        error = error_line(capsys, "plot", *arguments, "--output", path)
        assert error.startswith(f"stc-ops: error: cannot write '{path}': its name must end in one ")

    def test_missing_folder(self, arguments, tmp_path, capsys):
        pytest.importorskip("matplotlib")
        path = tmp_path / "none" / "figure.png"
        assert error_line(capsys, "plot", *arguments, "--output", path) == (
            f"stc-ops: error: cannot write '{path}': No such file or directory"
        )
