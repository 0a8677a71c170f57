"""What `stc-ops run` prints."""

import contextlib
import re

import pytest
import torch
from command_line import REPORT_NAMES, report, run_command

import stc_ops
from stc_ops.backends import select_backend
from stc_ops.cli import run
from stc_ops.cli.gates import last_gates
from stc_ops.cli.main import main
from stc_ops.cli.network import build_network
from stc_ops.video import VideoError, sample_clip_path


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
    def test_all_work_after_the_decoder_shows_progress(self, clip, tmp_path, monkeypatch):
        pytest.importorskip("matplotlib")
        shown, bars_at_work = [], {}

        @contextlib.contextmanager
        def progress_bar(description):
            shown.append(description)
            yield lambda done, total: None
            shown.append(None)

        def watch(name):
            work = getattr(run, name)

            def watched(*arguments):
                bars_at_work[name] = shown[-1]
                return work(*arguments)

            monkeypatch.setattr(run, name, watched)

        monkeypatch.setattr(run, "progress_bar", progress_bar)
        for name in ("read_clip", "compare_with_reference", "cost", "last_gates", "_draw"):
            watch(name)
        figure = str(tmp_path / "gates.png")
        assert main(["run", str(clip), "--num-segments", "2", "--plot", figure]) == 0
        assert bars_at_work == {
            "read_clip": "decoding",
            "compare_with_reference": "running",
            "cost": "finishing",
            "last_gates": "finishing",
            "_draw": "finishing",
        }

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

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
    def test_on_a_gpu(self, clip, tmp_path, capsys):
        pytest.importorskip("matplotlib")
        arguments = ["--device", "cuda", "--num-segments", "2", "--plot", tmp_path / "gates.png"]
        assert main(["run", str(clip), *map(str, arguments)]) == 0
        entries = report(capsys.readouterr().out)
        names = ["GPU" if name == "threads" else name for name in REPORT_NAMES]
        assert list(entries) == [*names, "figure"]
        assert entries["GPU"] == torch.cuda.get_device_name()
        backend = select_backend("test", torch.device("cuda"))
        assert f"backend '{backend}'" in entries["operators"]

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
        # Where operators are fused, the refinement is not called.
        with torch.inference_mode(), stc_ops.use_backend("reference"):
            model(frames)
            expected = last.spatial.refine.gate_network(pooled[0].T[None]).sigmoid()[0]
        hook.remove()
        torch.testing.assert_close(gates.temporal, expected.double(), atol=1e-5, rtol=1e-5)
