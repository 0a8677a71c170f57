"""A test of the tests: the comparisons of networks reject each mistake, and by a wide margin."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from cases import every_low_dtype
from comparisons import SINGLE, assert_close, assert_no_less_accurate, loosened
from mutations import (
    BLOCK_MUTATIONS,
    MIDDLE_MUTATIONS,
    RELATIVE_MUTATIONS,
    SHIFT_MUTATIONS,
    STATE_MUTATIONS,
    STC_MUTATIONS,
)
from plain_layers import assert_same_with_gradients, plain_stc, random_frames
from small_networks import (
    NETWORKS,
    RELATIVES,
    T,
    assert_accurate,
    assert_same_step,
    logits_in,
    random_clips,
    small,
    unfused_copy,
)
from torch import nn

from stc_ops.nn import STC

# How many times larger than what is accepted the error of a mistake has to be. bfloat16 is too
# coarse for as much; the same tests run in float16, which rounds eight times finer.
MARGIN = 10
MARGINS = {torch.bfloat16: 5, torch.float16: MARGIN}

# of a network: its mistakes
MUTATIONS = {
    "stc": STC_MUTATIONS,
    "stc-light": STC_MUTATIONS,
    "tsm": SHIFT_MUTATIONS | BLOCK_MUTATIONS,
} | dict.fromkeys(RELATIVES, RELATIVE_MUTATIONS)
BUILDERS = NETWORKS | RELATIVES
every_mutation = pytest.mark.parametrize(
    ("network", "mutate"),
    [
        pytest.param(network, mutate, id=f"{network}-{name}")
        for network, mutations in MUTATIONS.items()
        for name, mutate in mutations.items()
    ],
)
every_mode = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def rejected():
    return pytest.raises(AssertionError, match="not close")


def mutant_of(model, mutate):
    mutant = unfused_copy(model)
    mutate(mutant)
    return mutant


@every_low_dtype
@every_mutation
def test_16_bit_logits_show_it(network, mutate, dtype):
    model, frames = small(BUILDERS[network]), random_clips(16)
    out = logits_in(dtype, mutant_of(model, mutate), frames)
    with loosened(MARGINS[dtype]), rejected():
        assert_accurate(out, model, frames)


@every_mutation
def test_float32_logits_show_it(network, mutate):
    model, frames = small(BUILDERS[network]), random_clips()
    out = logits_in(torch.float32, mutant_of(model, mutate), frames)
    with loosened(MARGIN), rejected():
        assert_close(out.double(), model(frames), SINGLE)


@every_mode
@every_mutation
def test_a_step_shows_it(network, mutate, training):
    model = small(BUILDERS[network], dropout=0.0).train(training)
    with loosened(MARGIN), rejected():
        assert_same_step(mutant_of(model, mutate), model, random_clips())


@pytest.mark.parametrize("mutate", STATE_MUTATIONS.values(), ids=STATE_MUTATIONS.keys())
def test_the_state_after_a_step_shows_it(mutate):
    model = small(NETWORKS["stc"], dropout=0.0).train()
    with loosened(MARGIN), rejected():
        assert_same_step(mutant_of(model, mutate), model, random_clips())


@pytest.mark.parametrize("mutate", MIDDLE_MUTATIONS.values(), ids=MIDDLE_MUTATIONS.keys())
def test_a_layer_shows_it(mutate):
    layer = STC(16, T, stride=2).double()
    mutant = nn.Sequential(deepcopy(layer))
    frames = random_frames()
    assert_same_with_gradients(layer, lambda x: plain_stc(layer, x, {"stride": 2}), frames)
    mutate(mutant)
    with loosened(MARGIN), rejected():
        assert_same_with_gradients(mutant, lambda x: plain_stc(layer, x, {"stride": 2}), frames)


@every_low_dtype
@pytest.mark.parametrize("mutate", MIDDLE_MUTATIONS.values(), ids=MIDDLE_MUTATIONS.keys())
def test_a_layer_in_16_bits_shows_it(mutate, dtype):
    variant = {"stride": 2}
    layer, frames = STC(16, T, **variant).bfloat16(), random_frames(batch=16).bfloat16()
    plain, exact = (
        plain_stc(deepcopy(layer).to(each), frames.to(each), variant)
        for each in (dtype, torch.float64)
    )
    mutant = nn.Sequential(layer.to(dtype))
    assert_no_less_accurate(mutant(frames.to(dtype)), plain, exact)
    mutate(mutant)
    with loosened(MARGIN), rejected():
        assert_no_less_accurate(mutant(frames.to(dtype)), plain, exact)


def test_what_is_right_is_accepted():
    model, frames = small(NETWORKS["stc"], dropout=0.0), random_clips(16)
    for dtype in (torch.bfloat16, torch.float16):
        assert_accurate(deepcopy(model).to(dtype)(frames.to(dtype)), model, frames)
    assert_same_step(model, unfused_copy(model), random_clips())
