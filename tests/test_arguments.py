"""Arguments of other types that mean the same: NumPy's numbers, lists of parameters, dtypes."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from importlib.resources import files

import numpy as np
import pytest
import torch
from torch import nn

import stc_ops

FRAMES = torch.randn(8, 16, 3, 3)
BN = stc_ops.BatchNorm(None, None, torch.zeros(16), torch.ones(16), False, np.float32(0.1))


def test_operators_take_numbers_of_numpy(backend):
    frames = FRAMES.to(torch.get_default_device())
    expected = stc_ops.temporal_shift(frames, 4, 8)
    assert torch.equal(stc_ops.temporal_shift(frames, np.int64(4), np.int32(8)), expected)


def test_layers_take_numbers_of_numpy():
    layer = stc_ops.nn.STC(np.int64(16), np.int64(4), np.int64(2), alpha=np.float32(0.75))
    assert (layer.num_segments, type(layer.num_segments)) == (4, int)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(FRAMES), layer(FRAMES))
    network = stc_ops.models.tsn_resnet50(np.int64(3), np.int16(2))
    assert network(torch.randn(2, 3, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize("number", [np.float64(4.0), np.bool_(True), torch.tensor(4)], ids=repr)
def test_what_is_no_integer_is_none_of_numpy_either(number):
    with pytest.raises(TypeError, match="temporal_shift: num_segments must be an int, got"):
        stc_ops.temporal_shift(FRAMES, number)


def test_gate_weights_may_be_a_list_of_parameters():
    weights = [torch.randn(4, 16, 1), torch.randn(16, 4, 3)]
    expected = stc_ops.refine_bn_relu(FRAMES, None, BN, 4, weights)
    for given in (nn.ParameterList(weights), tuple(weights)):
        assert torch.equal(stc_ops.refine_bn_relu(FRAMES, None, BN, 4, given), expected)


def test_alpha_may_be_any_ratio():
    for alpha in (Fraction(3, 4), 0.75, np.float64(0.75), np.float32(0.75)):
        assert stc_ops.nn.STC(16, 4, alpha=alpha).branch_inputs == (12, 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_joins_frames_of_two_dtypes(dtype):
    with torch.autocast("cpu", dtype):
        out = stc_ops.bn_add_relu(FRAMES.to(dtype), BN, FRAMES)
        assert torch.equal(out, stc_ops.bn_add_relu(FRAMES.to(dtype), BN, FRAMES.to(dtype)))
        halves = FRAMES[:, :8].to(dtype), FRAMES[:, 8:]
        joined = stc_ops.refine_bn_relu(*halves, BN, 4)
        assert joined.dtype == torch.float32
        assert torch.equal(joined, stc_ops.refine_bn_relu(halves[0].float(), halves[1], BN, 4))
    with pytest.raises(TypeError, match="identity must be"):
        stc_ops.bn_add_relu(FRAMES.to(dtype), BN, FRAMES)


WITHOUT_DISTRIBUTED = """
import sys
import torch
torch.distributed.is_available = lambda: False
for name in ("init_process_group", "is_initialized", "ProcessGroup", "group"):
    if hasattr(torch.distributed, name):
        delattr(torch.distributed, name)
for name in [each for each in sys.modules if each.startswith("torch.distributed.")]:
    sys.modules[name] = None
import stc_ops
bn = stc_ops.nn.batch_norm_of(torch.nn.SyncBatchNorm(4))
print(stc_ops.bn_relu(torch.ones(4, 4, 2, 2), bn).shape)
"""


def test_imports_where_torch_was_built_without_distributed(tmp_path):
    command = [sys.executable, "-c", WITHOUT_DISTRIBUTED]
    assert "[4, 4, 2, 2]" in subprocess.check_output(command, cwd=tmp_path, text=True)


def test_version_and_types_are_those_of_the_package():
    assert stc_ops.__version__ == stc_ops._C.build_info()["version"]
    assert files(stc_ops).joinpath("py.typed").is_file()
