"""What `stc-ops bench models` refuses, and what it leaves behind then."""

import contextlib
import copy
import signal
import subprocess
import sys
import time

import pytest
import torch
from bench_cases import CATALOG, SETTING, SMALL, use_catalog
from command_line import error_line
from torch import nn

import stc_ops
from stc_ops.cli import bench, bench_networks
from stc_ops.cli.errors import CommandError
from stc_ops.cli.main import main
from stc_ops.models import optimize_for_inference
from stc_ops.models.catalog import Network
from stc_ops.nn import SpatialBranch

BENCH = ("bench", "models")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small_catalog(monkeypatch):
    use_catalog(monkeypatch, CATALOG)


class Times(nn.Module):
    def __init__(self, layer, factor):
        super().__init__()
        self.layer = layer
        self.factor = factor

    def forward(self, x):
        return self.layer(x) * self.factor


class TestWrongResults:
    @pytest.mark.parametrize("factor", [1.01, float("nan")])
    def test_of_an_optimized_network(self, factor, monkeypatch, capsys, tmp_path):
        monkeypatch.setattr(
            bench_networks,
            "optimize_for_inference",
            lambda model: Times(optimize_for_inference(model), factor),
        )
        found = "nan" if factor != factor else "0.01"
        error = error_line(capsys, *BENCH, "tsn", *SMALL, "--output", tmp_path / "rows.csv")
        assert error == (
            "stc-ops: error: 'tsn', optimized: differs from the reference: the logits by "
            f"{found} of its norm, and 1e-05 is allowed"
        )
        assert list(tmp_path.iterdir()) == []

    def test_of_the_yardstick(self, monkeypatch, capsys):
        # The network itself is right, and comes after the one that it is compared with.
        def right_for_stc(model):
            is_stc = isinstance(model.layer1[0].conv2, stc_ops.nn.STC)
            return Times(optimize_for_inference(model), 1.0 if is_stc else 2.0)

        monkeypatch.setattr(bench_networks, "optimize_for_inference", right_for_stc)
        error = error_line(capsys, *BENCH, "stc", *SMALL, "--mode", "eval")
        assert error.startswith("stc-ops: error: 'tsn', optimized: differs from")

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize("name", ["fc.bias", "layer2.0.bn2.weight"])
    def test_of_a_single_small_gradient(self, name, dtype, monkeypatch, capsys):
        build = CATALOG["tsn"].builder

        def with_wrong_gradient(**arguments):
            model = build(**arguments)
            parameter = model.get_parameter(name)
            parameter.register_hook(lambda grad: grad * is_reference())
            return model

        def is_reference():
            return stc_ops.backends.forced_backend() == "reference"

        use_catalog(monkeypatch, {"tsn": Network("TSN", with_wrong_gradient, "")})
        arguments = ("--mode", "training", "--dtype", dtype, "--num-segments", "8")
        error = error_line(capsys, *BENCH, "tsn", *SMALL, *arguments)
        assert error.startswith(
            "stc-ops: error: 'tsn', fused: differs from the reference: "
            f"the gradient of {name} by 1 of its norm, and 0."
        )


class TestWhatIsAllowed:
    """Networks that compute something slightly else are refused, in every dtype."""

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize("mutation", ["no shift", "reversed shift", "no gate", "eps"])
    def test_excludes(self, mutation, dtype):
        setting = SETTING._replace(num_segments=8, dtype=dtype)
        model = bench_networks.build("stc", setting)
        frames = bench_networks.random_frames(setting)
        for evaluation in (False, True):
            make = bench_networks.evaluations if evaluation else bench_networks.trainings
            wrong = make(mutated(model, mutation), frames).variants["reference"]
            tolerances = bench_networks.TOLERANCES[dtype]
            steps = make(model, frames)
            bench_networks.verify("stc", steps, tolerances)
            steps = steps._replace(variants={**steps.variants, "fused": wrong})
            with pytest.raises(CommandError, match="'stc', fused: differs from the reference"):
                bench_networks.verify("stc", steps, tolerances)


def mutated(model, mutation):
    """Return a copy of an STC network, every block of which computes something slightly else."""
    copied = copy.deepcopy(model)
    for module in list(copied.modules()):
        if mutation == "eps" and isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-2
        if not isinstance(module, SpatialBranch):
            continue
        if mutation == "no shift":
            module.shift = nn.Identity()
        if mutation == "reversed shift":
            module.shift = Reversed(module.shift)
        if mutation == "no gate":
            module.refine = nn.Identity()
    return copied


class Reversed(nn.Module):
    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, x):
        return self.shift(x.flip(0)).flip(0)


class TestErrors:
    @pytest.fixture(autouse=True)
    def nothing_is_measured(self, monkeypatch):
        """Fail if the command does any work before it looks what it was given."""
        monkeypatch.setattr(bench_networks, "build", None)
        monkeypatch.setattr("stc_ops.cli.bench_models.build", None)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["bench"], "the following arguments are required: SUBJECT (see stc-ops bench --help)"),
            (
                [*BENCH, "tsn", "resnet"],
                "argument NETWORK: must be one of tsn, stc, got 'resnet' "
                "(see stc-ops bench models --help)",
            ),
            *(
                (
                    [*BENCH, option, "0"],
                    f"argument {option}: must be at least 1, got 0 "
                    "(see stc-ops bench models --help)",
                )
                for option in ("--num-segments", "--clips", "--size", "--rounds")
            ),
            (
                [*BENCH, "--size", "32", "--num-segments", "7"],
                "training needs larger or more frames: batch norms of the last stage have 7 values "
                "of a channel, and below 8 float32 gives gradients that are but rounding",
            ),
            (
                [*BENCH, "--size", "64", "--num-segments", "7", "--dtype", "bfloat16"],
                "training needs larger or more frames: batch norms of the last stage have 28 "
                "values of a channel, and below 32 bfloat16 gives gradients that are but rounding",
            ),
            (
                [*BENCH, "--output", "rows.svg", "--plot", "rows.svg"],
                "--output and --plot are the same file, 'rows.svg'",
            ),
        ],
    )
    def test_arguments(self, arguments, message, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert error_line(capsys, *arguments) == f"stc-ops: error: {message}"
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
    def test_without_a_gpu(self, capsys):
        assert error_line(capsys, *BENCH, "--device", "cuda") == (
            "stc-ops: error: --device cuda: this machine has no CUDA device"
        )

    def test_with_nothing_but_the_reference(self, capsys):
        with stc_ops.use_backend("reference"):
            error = error_line(capsys, *BENCH)
        assert error == (
            "stc-ops: error: nothing to compare: the operators take the reference backend on 'cpu'"
        )

    @pytest.mark.parametrize("option", ["--output", "--plot"])
    def test_missing_folder(self, option, tmp_path, capsys):
        if option == "--plot":
            pytest.importorskip("matplotlib")
        path = tmp_path / "none" / "rows.svg"
        assert error_line(capsys, *BENCH, option, path) == (
            f"stc-ops: error: cannot write '{path}': No such file or directory"
        )

    def test_without_matplotlib(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        output = tmp_path / "rows.csv"
        error = error_line(capsys, *BENCH, "--output", output, "--plot", tmp_path / "rows.png")
        assert error == "stc-ops: error: --plot needs matplotlib: pip install 'stc_ops[plot]'"
        assert list(tmp_path.iterdir()) == []

    def test_network_that_cannot_run(self, monkeypatch, capsys):
        def refuse(**arguments):
            raise ValueError(f"num_segments must be even, got {arguments['num_segments']}")

        use_catalog(monkeypatch, {**CATALOG, "odd": Network("Odd", refuse, "")})
        assert error_line(capsys, *BENCH, "--num-segments", "9") == (
            "stc-ops: error: cannot measure 'odd': num_segments must be even, got 9"
        )


def test_failure_leaves_earlier_files(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    output, plot = tmp_path / "rows.csv", tmp_path / "rows.png"
    for file in (output, plot):
        file.write_bytes(b"earlier")

    def fail(*arguments):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr("stc_ops.cli.bench_models.seconds_in_turns", fail)
    files = ("--output", output, "--plot", plot)
    assert error_line(capsys, *BENCH, "tsn", *SMALL, *files) == (
        "stc-ops: error: cannot measure 'tsn': out of memory"
    )
    assert sorted(tmp_path.iterdir()) == [output, plot]
    assert [file.read_bytes() for file in (output, plot)] == [b"earlier"] * 2


def test_measuring_shows_progress(monkeypatch):
    log = []

    @contextlib.contextmanager
    def progress_bar(description):
        log.append(description)
        yield lambda done, total: log.append((done, total))

    monkeypatch.setattr(bench, "progress_bar", progress_bar)
    arguments = [*BENCH, "tsn", *SMALL, "--mode", "eval"]
    assert main(arguments) == 0
    assert log == ["measuring", (1, 2), (2, 2)]


def test_interrupt(tmp_path):
    pytest.importorskip("matplotlib")
    arguments = [*BENCH, "tsn", *SMALL, "--output", "rows.csv", "--plot", "rows.png"]
    with subprocess.Popen(
        [sys.executable, "-m", "stc_ops", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        # The unfinished figure says that the command is at work.
        while len(list(tmp_path.iterdir())) < 2 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "stc-ops: interrupted\n")
    assert list(tmp_path.iterdir()) == []
