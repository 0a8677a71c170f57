"""Every feature of PyTorch that people combine with modules, tried on every layer and network.

A row is a function in a module of ``features``, a column one line in ``features.subjects``.
"""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from features import compiling, handling, recording, subjects
from features.matrix import FEATURES

import stc_ops

CASES = {
    f"{feature}-{name}": (FEATURES[feature].check, subject)
    for feature in FEATURES
    for name, subject in subjects.SUBJECTS.items()
    if FEATURES[feature].applies(subject)
}


@pytest.fixture(autouse=True)
def kernels():
    """The backend of tensors on a CPU, whatever the environment has chosen."""
    with stc_ops.use_backend("cpu"):
        yield


@pytest.fixture(scope="module", autouse=True)
def a_process_group():
    """Of this process alone, for what distributes."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(("check", "subject"), CASES.values(), ids=CASES.keys())
def test_feature(check, subject):
    torch.manual_seed(0)
    check(subject)


def test_every_layer_is_a_column():
    assert {*subjects.LAYERS, *subjects.NO_FRAMES} == {*stc_ops.nn.__all__}


def test_every_module_has_rows():
    owners = {feature.check.__module__ for feature in FEATURES.values()}
    assert owners == {each.__name__ for each in (compiling, handling, recording)}
