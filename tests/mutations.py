"""Mistakes that networks could have, as changes of their layers: tests have to notice each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from small_networks import T, norms_of
from torch import nn

from stc_ops.models import Bottleneck, VideoResNet
from stc_ops.nn import STC, TemporalShift

Change = Callable[[torch.Tensor], torch.Tensor]


def unchanged(x: torch.Tensor) -> torch.Tensor:
    return x


class Around(nn.Module):
    """A layer, with its input and its result changed."""

    def __init__(
        self,
        inner: nn.Module,
        before: Change = unchanged,
        after: Change = unchanged,
    ) -> None:
        super().__init__()
        self.inner = inner
        self.before = before
        self.after = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.inner(self.before(x)))


def blocks_of(model: VideoResNet) -> Iterator[Bottleneck]:
    return (each for each in model.modules() if isinstance(each, Bottleneck))


def middles_of(model: VideoResNet) -> Iterator[STC]:
    return (each for each in model.modules() if isinstance(each, STC))


def replace_shifts(model, change):
    for owner in list(model.modules()):
        for name, child in owner.named_children():
            if isinstance(child, TemporalShift):
                setattr(owner, name, change(child))


def shift_removed(model):
    replace_shifts(model, lambda shift: nn.Identity())


def backwards(frames):
    return frames.unflatten(0, (-1, T)).flip(1).flatten(0, 1)


def shift_reversed(model):
    replace_shifts(model, lambda shift: Around(shift, backwards, backwards))


def shift_between_clips(model):
    replace_shifts(model, lambda shift: TemporalShift(2 * T, shift.shift_div))


def clips_backwards(model):
    """Play the clips backwards to the layers that see time."""
    for block in list(blocks_of(model)):
        block.conv2 = Around(block.conv2, backwards, backwards)
        block.entry = Around(block.entry, backwards, backwards)


def refinement_off_in_one_block(model):
    (_, middle, *_) = middles_of(model)
    middle.spatial.refine = nn.Identity()
    middle.temporal.refine = nn.Identity()


def temporal_refinement_off_in_one_block(model):
    (_, middle, *_) = middles_of(model)
    middle.spatial.refine = nn.Identity()


def spatial_refinement_off_in_one_block(model):
    (_, middle, *_) = middles_of(model)
    middle.temporal.refine = nn.Identity()


def gate_of_the_temporal_branch_missing(model):
    for middle in middles_of(model):
        middle.temporal.refine = nn.Identity()


def gate_of_the_spatial_branch_missing(model):
    for middle in middles_of(model):
        middle.spatial.refine = nn.Identity()


def large_eps(model):
    for norm in norms_of(model):
        norm.eps = 1e-2


def wrong_pixel_of_a_stride(model):
    for middle in middles_of(model):
        if middle.stride > 1:
            middle.temporal.conv = Around(middle.temporal.conv, lambda x: x.roll((-1, -1), (2, 3)))


def branches_swapped(model):
    def exchanged(z):
        cut = z.shape[1] * 3 // 4
        return torch.cat((z[:, cut:], z[:, :cut]), 1)

    for block in list(blocks_of(model)):
        block.conv2 = Around(block.conv2, after=exchanged)


def norm_of_the_identity_missing(model):
    for block in blocks_of(model):
        if block.downsample is not None:
            block.downsample[1] = nn.Identity()


def norms_before_and_after_the_middle_exchanged(model):
    for block in blocks_of(model):
        block.bn1, block.bn2 = block.bn2, block.bn1


def by_name(*mutations):
    return {each.__name__.replace("_", "-"): each for each in mutations}


SHIFT_MUTATIONS = by_name(shift_removed, shift_reversed, shift_between_clips)
MIDDLE_MUTATIONS = SHIFT_MUTATIONS | by_name(
    gate_of_the_temporal_branch_missing,
    gate_of_the_spatial_branch_missing,
    wrong_pixel_of_a_stride,
)
RELATIVE_MUTATIONS = by_name(clips_backwards, large_eps, norm_of_the_identity_missing)
BLOCK_MUTATIONS = by_name(
    large_eps,
    norm_of_the_identity_missing,
    norms_before_and_after_the_middle_exchanged,
)
STC_MUTATIONS = (
    MIDDLE_MUTATIONS
    | BLOCK_MUTATIONS
    | by_name(
        refinement_off_in_one_block,
        temporal_refinement_off_in_one_block,
        spatial_refinement_off_in_one_block,
        branches_swapped,
    )
)


def other_momentum(model):
    for norm in norms_of(model):
        norm.momentum = 0.2


def running_statistics_not_updated(model):
    for norm in norms_of(model):
        norm.momentum = 0.0


def batches_not_counted(model):
    def forget(norm, inputs, out):
        norm.num_batches_tracked.zero_()

    for norm in norms_of(model):
        norm.register_forward_hook(forget)


def population_variance_kept(model):
    """Keep the variance that normalizes, not the unbiased one."""

    def correct(norm, inputs, out):
        count = out.numel() // out.shape[1]
        old = (1 - norm.momentum) * norm.variance_before
        norm.running_var.data.sub_(old).mul_((count - 1) / count).add_(old)

    def note(norm, inputs):
        norm.variance_before = norm.running_var.clone()

    for norm in norms_of(model):
        norm.register_forward_pre_hook(note)
        norm.register_forward_hook(correct)


# Of training: evaluation does not know them.
STATE_MUTATIONS = by_name(
    other_momentum,
    running_statistics_not_updated,
    batches_not_counted,
    population_variance_kept,
)
