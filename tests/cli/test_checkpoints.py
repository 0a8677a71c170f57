"""What `--weights` takes: the checkpoints that people have, and what it says of the others."""

import argparse
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from command_line import error_line

from stc_ops.cli.checkpoint import load_weights
from stc_ops.cli.errors import CommandError
from stc_ops.cli.network import build_network, num_classes_of, set_weights
from stc_ops.models import tsn_resnet50

SMALL = OrderedDict({"fc.weight": torch.ones(3, 4), "layer1.0.bn1.bias": torch.zeros(2)})


def with_prefix(prefix):
    return {prefix + name: value for name, value in SMALL.items()}


def saved(tmp_path, content, **options):
    torch.save(content, tmp_path / "weights.pt", **options)
    return tmp_path / "weights.pt"


def error_of(path):
    with pytest.raises(CommandError) as caught:
        load_weights(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


class TestAccepted:
    @pytest.mark.parametrize(
        "content",
        [
            SMALL,
            dict(SMALL),
            {"state_dict": SMALL, "epoch": 3, "optimizer": {"state": {}, "param_groups": [{}]}},
            {"model_state_dict": SMALL, "optimizer_state_dict": {"state": {0: SMALL}}},
            {"model": SMALL, "best": 0.5, "args": {"lr": 0.1}},
            {"model": {"state_dict": SMALL}},
            with_prefix("module."),
            with_prefix("_orig_mod."),
            with_prefix("module._orig_mod."),
            with_prefix("_orig_mod.module."),
            with_prefix("_fsdp_wrapped_module."),
            {"state_dict": with_prefix("module.")},
            {name.replace("layer1.", "layer1._orig_mod."): value for name, value in SMALL.items()},
            {
                name: torch.nn.Parameter(value, requires_grad=name == "fc.weight")
                for name, value in SMALL.items()
            },
        ],
    )
    @pytest.mark.parametrize("zipped", [True, False])
    def test_checkpoints_of_training(self, tmp_path, content, zipped):
        path = saved(tmp_path, content, _use_new_zipfile_serialization=zipped)
        weights = load_weights(path)
        assert weights.keys() == SMALL.keys()
        assert all(torch.equal(weights[name], SMALL[name]) for name in SMALL)

    def test_of_modules_that_wrap(self, tmp_path):
        model = torch.nn.Sequential(OrderedDict(fc=torch.nn.Linear(2, 3)))
        for wrapped in (torch.nn.DataParallel(model), torch.compile(model)):
            path = saved(tmp_path, wrapped.state_dict())
            assert load_weights(path).keys() == model.state_dict().keys()

    def test_a_prefix_that_would_hide_an_entry_stays(self, tmp_path):
        path = saved(tmp_path, {**SMALL, **with_prefix("module.")})
        assert load_weights(path).keys() == SMALL.keys() | with_prefix("module.").keys()

    def test_of_a_network_and_an_old_pytorch(self, weights, tmp_path):
        expected = torch.load(weights, weights_only=True)
        old = {
            f"module.{name}": value
            for name, value in expected.items()
            if not name.endswith("num_batches_tracked")
        }
        assert len(old) < len(expected)
        path = saved(tmp_path, {"state_dict": old, "epoch": 3})
        loaded = load_weights(path)
        model = build_network(num_classes_of(loaded, path), 2, light=False)
        torch.nn.init.zeros_(model.conv1.weight)
        set_weights(model, loaded, path)
        state = model.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in expected)


class TestRefused:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_numpy_value(self, tmp_path, zipped):
        content = {"state_dict": SMALL, "accuracy": np.float64(0.5)}
        path = saved(tmp_path, content, _use_new_zipfile_serialization=zipped)
        message = error_of(path)
        assert message.startswith(f"weights '{path}' hold a NumPy value (numpy.")
        assert message.endswith(
            "), and such are not loaded, since they may run code: "
            "save the network's state_dict() alone"
        )

    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize(
        ("content", "name"),
        [
            (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
            (torch.nn.Sequential(torch.nn.ReLU()), "torch.nn.modules.container.Sequential"),
            ({"model": SMALL, "args": argparse.Namespace(lr=1)}, "argparse.Namespace"),
        ],
    )
    def test_an_object(self, tmp_path, content, name, zipped):
        path = saved(tmp_path, content, _use_new_zipfile_serialization=zipped)
        assert error_of(path) == (
            f"weights '{path}' hold an object ({name}), and such are not loaded, since they may "
            "run code: save the network's state_dict() alone"
        )

    def test_code_does_not_run(self, tmp_path):
        class Attack:
            def __reduce__(self):
                return (open, (str(tmp_path / "written"), "w"))

        path = saved(tmp_path, {"state_dict": SMALL, "extra": Attack()})
        assert "hold an object (" in error_of(path)
        assert not (tmp_path / "written").exists()

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_torchscript(self, tmp_path):
        path = tmp_path / "script.pt"
        torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(path)
        assert error_of(path) == (
            f"weights '{path}' are a TorchScript archive: "
            "save the network's state_dict() with torch.save instead"
        )

    @pytest.mark.filterwarnings("error")
    def test_another_pickle(self, tmp_path):
        path = tmp_path / "weights.pkl"
        path.write_bytes(pickle.dumps({"epoch": 3}, protocol=4))
        assert error_of(path) == f"weights '{path}' are not a state_dict saved by torch.save"

    @pytest.mark.parametrize(
        ("content", "got"),
        [
            (torch.zeros(3), ", got Tensor"),
            ([SMALL], ", got list"),
            (
                {"epoch": 3},
                ", nor one in an entry 'state_dict' or 'model': got 'epoch'",
            ),
            (
                {"student": dict(SMALL), "teacher": {}, 0: 1, "step": 2, "lr": 0.1},
                ", nor one in an entry 'state_dict' or 'model': got 'student', 'teacher', 0 "
                "and 2 more",
            ),
        ],
    )
    def test_no_state_dict(self, tmp_path, content, got):
        path = saved(tmp_path, content)
        assert error_of(path) == (f"weights '{path}' are not a state_dict of tensors by name{got}")

    def test_several_networks(self, tmp_path):
        path = saved(tmp_path, {"model": SMALL, "state_dict": SMALL})
        assert error_of(path) == (
            f"weights '{path}' hold several networks ('state_dict', 'model'): "
            "save the state_dict() of one"
        )

    def test_that_holds_itself(self, tmp_path):
        content = {}
        content["model"] = content
        assert "are not a state_dict of tensors by name" in error_of(saved(tmp_path, content))


class TestOfAnotherNetwork:
    def error(self, capsys, clip, path, *options):
        arguments = ("run", clip, "--num-segments", "2", "--weights", path, *options)
        return error_line(capsys, *arguments)

    def test_standard_weights_for_light(self, clip, weights, capsys):
        message = self.error(capsys, clip, weights, "--light")
        start = f"stc-ops: error: weights '{weights}' do not fit the network: 32 missing ('layer"
        assert message.startswith(start)
        assert message.endswith("; leave out --light")
        assert len(message) < 1000

    def test_light_weights_without_light(self, clip, tmp_path, capsys):
        path = saved(tmp_path, build_network(7, 8, light=True).state_dict())
        message = self.error(capsys, clip, path)
        assert message.startswith(f"stc-ops: error: weights '{path}' do not fit the network: ")
        assert message.endswith("; they are STC-Light's: add --light")

    @pytest.mark.parametrize("options", [[], ["--light"]])
    def test_of_neither(self, clip, tmp_path, capsys, options):
        path = saved(tmp_path, tsn_resnet50(num_classes=7).state_dict())
        message = self.error(capsys, clip, path, *options)
        assert " more), " in message
        assert "light" not in message
        assert len(message) < 1000
