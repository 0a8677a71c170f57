"""Any module of any network, exchanged or changed in any way: fused, plain and optimized agree.

Or they refuse: all of them where plain PyTorch does, or the optimized one, by name.
"""

from __future__ import annotations

import torch
from features.agreement import assert_same
from features.subjects import NETWORKS
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune

import stc_ops


class Louder(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *arguments):
        return self.inner(*arguments) * 1.5


def exchange_for(make):
    def change(owner, name, layer):
        setattr(owner, name, make(layer).double().eval())

    return change


def own_class(owner, name, layer):
    layer.__class__ = type(f"Own{type(layer).__name__}", (type(layer),), {"forward": twice})


def twice(self, *arguments):
    return 2 * super(type(self), self).forward(*arguments)


def own_forward(owner, name, layer):
    forward = type(layer).forward
    layer.forward = lambda *arguments: forward(layer, *arguments) + 1


def hook(owner, name, layer):
    layer.register_forward_hook(
        lambda _, arguments, out: out * 1.5 if isinstance(out, torch.Tensor) else None
    )


def pre_hook(owner, name, layer):
    layer.register_forward_pre_hook(lambda _, arguments: (arguments[0] + 0.5, *arguments[1:]))


def normalized_weight(owner, name, layer):
    if getattr(layer, "weight", None) is not None and layer.weight.ndim > 1:
        parametrizations.weight_norm(layer)


def pruned(owner, name, layer):
    if getattr(layer, "weight", None) is not None:
        prune.l1_unstructured(layer, "weight", 0.3)


def attribute(owner, name, layer):
    for changed in ("eps", "shift_div", "momentum"):
        if hasattr(layer, changed):
            setattr(layer, changed, 4 if changed == "shift_div" else 0.3)


CHANGES = {
    "louder": exchange_for(Louder),
    "identity": exchange_for(lambda layer: nn.Identity()),
    "sigmoid": exchange_for(lambda layer: nn.Sigmoid()),
    "own class": own_class,
    "own forward": own_forward,
    "hook": hook,
    "pre-hook": pre_hook,
    "weight norm": normalized_weight,
    "pruned": pruned,
    "attribute": attribute,
}
# They run only where the layers that they stand for do not.
FUSED_ONLY = ("bn_relu", "bn_add_relu")


def result_or_none(model, frames):
    """What `model` computes; None where a layer does not take what the exchanged one returns."""
    try:
        return model(frames)
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return None


@given(st.sampled_from(list(NETWORKS)), st.sampled_from(list(CHANGES)), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_networks_agree_or_refuse(network, change, choice):
    subject = NETWORKS[network]
    fused, plain = subject.module(), subject.module()
    plain.fused = False
    layers = [
        (path, name)
        for path, owner in fused.named_modules()
        for name, _ in owner.named_children()
        if name not in FUSED_ONLY
    ]
    path, name = layers[choice % len(layers)]
    for model in (fused, plain):
        owner = model.get_submodule(path)
        CHANGES[change](owner, name, getattr(owner, name))
        model.eval()
    frames = subject.frames()
    with stc_ops.use_backend("reference"):
        expected = result_or_none(plain, frames)
    where = f"{change} of {path}.{name} in {network}"
    with stc_ops.use_backend("cpu"):
        actual = result_or_none(fused, frames)
        assert (actual is None) == (expected is None), where
        if expected is None:
            return
        assert_same(actual, expected, where)
        try:
            optimized = stc_ops.optimize_for_inference(fused)
        except TypeError as error:
            assert str(error).startswith("optimize_for_inference: "), where  # noqa: PT017
            return
        assert_same(optimized(frames), expected, where)
