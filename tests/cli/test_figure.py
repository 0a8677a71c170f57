"""The figure and its file."""

import sys

import pytest
import torch
from command_line import error_line
from figure_texts import assert_texts_stay_on_the_page_and_apart, texts_of

from stc_ops.cli import run
from stc_ops.cli.gates import Gates
from stc_ops.cli.main import main


class TestPlotFile:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        pytest.importorskip("matplotlib")

    def test_without_matplotlib(self, clip, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        assert error_line(capsys, "run", clip, "--plot", tmp_path / "gates.png") == (
            "stc-ops: error: --plot needs matplotlib: pip install 'stc_ops[plot]'"
        )

    def test_failure_leaves_no_file(self, truncated_clip, tmp_path, capsys):
        error_line(capsys, "run", truncated_clip, "--plot", tmp_path / "gates.png")
        assert list(tmp_path.iterdir()) == [truncated_clip]

    def test_failure_leaves_an_earlier_figure(self, truncated_clip, tmp_path, capsys):
        figure = tmp_path / "gates.png"
        figure.write_bytes(b"earlier")
        error_line(capsys, "run", truncated_clip, "--plot", figure)
        assert figure.read_bytes() == b"earlier"

    def test_success_replaces_an_earlier_figure(self, clip, tmp_path):
        figure = tmp_path / "gates.pdf"
        figure.write_bytes(b"earlier")
        arguments = ["run", str(clip), "--num-segments", "2", "--plot", str(figure)]
        assert main(arguments) == 0
        assert figure.read_bytes().startswith(b"%PDF")
        assert list(tmp_path.iterdir()) == [figure]

    @pytest.mark.parametrize("name", ["gates", "gates.mp3", "gates.pgf"])
    def test_unknown_format(self, tmp_path, name, capsys, nothing_is_run):
        path = tmp_path / name
        error = error_line(capsys, "run", "--plot", path)
        expected = f"stc-ops: error: cannot write '{path}': its name must end in one of "
        assert error.startswith(expected)
        assert "png" in error.removeprefix(expected).split(", ")

    def test_missing_folder(self, tmp_path, capsys, nothing_is_run):
        path = tmp_path / "none" / "gates.png"
        assert error_line(capsys, "run", "--plot", path) == (
            f"stc-ops: error: cannot write '{path}': No such file or directory"
        )

    def test_directory(self, tmp_path, capsys, nothing_is_run):
        path = tmp_path / "gates.png"
        path.mkdir()
        assert error_line(capsys, "run", "--plot", path) == (
            f"stc-ops: error: cannot write '{path}': Is a directory"
        )

    @pytest.fixture
    def nothing_is_run(self, monkeypatch):
        """Fail if the command does any work before it looks where it would write."""
        monkeypatch.setattr(run, "build_network", None)
        monkeypatch.setattr(run, "read_clip", None)


class TestFigure:
    @pytest.fixture(autouse=True)
    def figure(self):
        pytest.importorskip("matplotlib")
        from stc_ops.cli import figure

        return figure

    def draw(self, figure, num_segments=8, temporal=None, spatial=None, title="a_$clip.mp4"):
        crops = torch.randint(0, 256, (num_segments, 56, 56, 3), dtype=torch.uint8).numpy()
        if temporal is None:
            temporal = torch.rand(6, num_segments, dtype=torch.float64)
        if spatial is None:
            spatial = torch.rand(2, 7, 7, dtype=torch.float64)
        seconds = [0.4 + 100 * number for number in range(num_segments)]
        return figure.draw_gates(crops, seconds, Gates(temporal, spatial), title)

    @pytest.mark.parametrize("num_segments", [1, 2, 3, 4, 5, 8, 12, 16, 33])
    def test_texts_stay_on_the_page_and_apart(self, figure, num_segments, monkeypatch):
        drawn = self.draw(figure, num_segments, title="long " * 50)
        assert assert_texts_stay_on_the_page_and_apart(drawn, monkeypatch) > 15

    def test_marks_the_frame_of_the_highest_gate(self, figure):
        temporal = torch.full((6, 8), 0.5, dtype=torch.float64)
        temporal[:, 3] = 0.6
        drawn = self.draw(figure, temporal=temporal)
        marked = [
            axes.get_title() for axes in drawn.axes if axes.title.get_color() == figure.PEAK_COLOUR
        ]
        assert marked == ["4: 300 s", "4"]
        assert "(a) Sampled frames, red where the temporal gate is highest" in texts_of(drawn)

    def test_constant_gates_mark_nothing(self, figure):
        drawn = self.draw(
            figure,
            temporal=torch.full((6, 8), 0.5, dtype=torch.float64),
            spatial=torch.full((2, 7, 7), 0.5, dtype=torch.float64),
        )
        assert "(a) Sampled frames" in texts_of(drawn)

    @pytest.mark.parametrize("everywhere", [False, True])
    def test_gates_that_are_not_finite_are_counted(self, figure, everywhere):
        temporal = torch.rand(6, 8, dtype=torch.float64)
        spatial = torch.rand(2, 7, 7, dtype=torch.float64)
        missing = slice(None) if everywhere else slice(2)
        temporal[:, missing] = float("nan")
        spatial[:, missing, 0 if not everywhere else slice(None)] = float("nan")
        drawn = self.draw(figure, temporal=temporal, spatial=spatial)
        drawn.draw_without_rendering()
        counts = "8 of 8 values in (b), 49 of 49" if everywhere else "2 of 8 values in (b), 2 of 49"
        assert f"Not finite, and not drawn: {counts} in (c)." in texts_of(drawn)

    def test_values_are_drawn_as_they_are(self, figure):
        temporal = torch.rand(6, 8, dtype=torch.float64)
        drawn = self.draw(figure, temporal=temporal)
        curve = next(
            line for axes in drawn.axes for line in axes.lines if len(line.get_xdata()) == 8
        )
        assert curve.get_xdata().tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
        assert curve.get_ydata().tolist() == temporal.mean(0).tolist()

    def test_formats(self, figure, tmp_path):
        drawn = self.draw(figure)
        for file_format, start in {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}.items():
            path = tmp_path / "unfinished"
            figure.save_figure(drawn, path, file_format)
            assert path.read_bytes().startswith(start)
