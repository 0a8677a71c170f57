"""TAM, TEA, TIN and STM in plain PyTorch on (N, C, T, H, W), written from their publications."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from plain_layers import clips_of, frames_of, randomize_norms
from torch import nn

from stc_ops.nn import ChannelwiseTemporalConv2d


def random_layer(build, dtype=torch.float64):
    """A layer none of whose weights has a special initial value."""
    layer = build().to(dtype)
    randomize_norms(layer)
    for module in layer.modules():
        if isinstance(module, ChannelwiseTemporalConv2d):
            nn.init.normal_(module.weight, std=0.5)
    return layer.eval()


def frame_convolution(conv, clips):
    """A 2-D convolution of every frame."""
    kernel, stride = conv.weight[:, :, None], (1, *conv.stride)
    return F.conv3d(clips, kernel, stride=stride, padding=(0, *conv.padding), groups=conv.groups)


def channelwise_convolution(weight, clips):
    """A convolution over time of every channel by itself."""
    return F.conv3d(clips, weight[..., None], padding=(1, 0, 0), groups=clips.shape[1])


def norm(bn, x):
    """Batch norm, with the statistics of `x` in training, that changes no state."""
    if bn.training:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        mean, var = x.mean(axes), x.var(axes, correction=0)
    else:
        mean, var = bn.running_mean, bn.running_var
    mean, var, weight, bias = (
        value.view(-1, *[1] * (x.ndim - 2)) for value in (mean, var, bn.weight, bn.bias)
    )
    return (x - mean) / (var + bn.eps).sqrt() * weight + bias


def plain_adaptive_convolution(module, clips):
    context = clips.mean((3, 4))
    reduce, bn, _, expand = module.importance
    hidden = norm(bn, F.conv1d(context, reduce.weight, padding=1)).relu()
    importance = F.conv1d(hidden, expand.weight).sigmoid()
    widen, bn, _, narrow = module.aggregation
    batch, channels, length = context.shape
    hidden = norm(bn, context.reshape(-1, length) @ widen.weight.T).relu()
    kernels = (hidden @ narrow.weight.T).softmax(1).view(batch, channels, 3)
    weighted = F.pad(clips * importance[..., None, None], (0, 0, 0, 0, 1, 1))
    return torch.stack(
        [
            sum(kernels[:, :, k, None, None] * weighted[:, :, t + k] for k in range(3))
            for t in range(length)
        ],
        2,
    )


def plain_tam(module, frames):
    clips = plain_adaptive_convolution(module.adaptive, clips_of(frames))
    return frames_of(frame_convolution(module.conv, clips))


def plain_motion(reduced, transform, stride=1):
    """Transformed next frames minus the frames themselves; nothing in the last frame."""
    transformed = frame_convolution(transform, reduced)
    here = reduced[..., ::stride, ::stride]
    last = torch.zeros_like(transformed[:, :, :1])
    return torch.cat((transformed[:, :, 1:] - here[:, :, :-1], last), 2)


def plain_excitation(module, clips):
    reduced = norm(module.reduce_bn, frame_convolution(module.reduce, clips))
    motion = plain_motion(reduced, module.transform).mean((3, 4), keepdim=True)
    expand, bn = module.expand
    attention = 2 * norm(bn, frame_convolution(expand, motion)).sigmoid() - 1
    return clips + clips * attention / 2


def plain_tea(module, frames):
    groups = plain_excitation(module.excitation, clips_of(frames)).chunk(4, 1)
    temporal = [partial(channelwise_convolution, each.weight) for each in module.temporal]
    out = []
    for i in range(3):
        x = groups[i] if i == 0 or module.first_of_stage else groups[i] + out[-1]
        out.append(norm(module.bns[i], frame_convolution(module.convs[i], temporal[i](x))).relu())
    last = temporal[3](groups[3])
    if module.first_of_stage:
        stride = module.convs[0].stride[0]
        # In two dimensions, where 16 bits have it.
        last = clips_of(F.avg_pool2d(frames_of(last), 3, stride, 1))
    return frames_of(torch.cat((*out, last), 1))


def plain_stm(module, frames):
    clips = clips_of(frames)
    temporal = channelwise_convolution(module.temporal.weight, clips)
    features = frame_convolution(module.conv, temporal)
    motion = module.motion
    moving = plain_motion(frame_convolution(motion.reduce, clips), motion.transform, motion.stride)
    return frames_of(features + frame_convolution(motion.restore, moving))


def plain_interlace(clips, offsets, weights):
    """Interpolate between the two nearest frames, one clip, group, frame after the other."""
    batch, channels, length = clips.shape[:3]
    size = channels // offsets.shape[1]

    def frame(n, group, t):
        inside = 0 <= t < length
        block = clips[n, group * size : (group + 1) * size]
        return block[:, t] if inside else torch.zeros_like(block[:, 0])

    def moved(n, group, t):
        offset = offsets[n, group]
        whole = int(offset.detach().floor())
        part = offset - whole
        near, far = frame(n, group, t - whole), frame(n, group, t - whole - 1)
        return weights[n, group, t] * ((1 - part) * near + part * far)

    groups = range(offsets.shape[1])
    return torch.stack(
        [
            torch.cat([torch.stack([moved(n, g, t) for t in range(length)], 1) for g in groups])
            for n in range(batch)
        ]
    )


def plain_tin(module, frames):
    clips = clips_of(frames)
    moving, staying = clips[:, : module.moving], clips[:, module.moving :]
    context = moving.mean((3, 4))
    net = module.offsets
    hidden = F.conv1d(context, net.conv.weight, net.conv.bias, padding=1)[:, 0]
    hidden = (hidden @ net.hidden.weight.T + net.hidden.bias).relu()
    offsets = 4 * ((hidden @ net.out.weight.T + net.out.bias).sigmoid() - 0.5)
    conv = module.weights.conv
    weights = 2 * F.conv1d(context, conv.weight, conv.bias, padding=1).sigmoid()
    moved = plain_interlace(
        moving, torch.cat((offsets, -offsets), 1), torch.cat((weights, weights), 1)
    )
    return frames_of(torch.cat((moved, staying), 1))
