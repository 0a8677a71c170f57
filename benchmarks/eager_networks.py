"""TSN and STC as a good user of eager PyTorch runs them, from the layers of a built network."""

from __future__ import annotations

import copy

import eager
import torch
import torch.nn.functional as F
from eager_views import format_of
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import stc_ops
from stc_ops.models import Bottleneck, VideoResNet
from stc_ops.nn import STC, TemporalConv2d


class EagerNetwork(nn.Module):
    """A network by :mod:`eager`'s operators alone, with the parameters of the one it is made of.

    Args:
        network: of blocks whose middle layers are convolutions (TSN) or STC, with nothing before
            the blocks.

    Raises:
        TypeError: the blocks have other layers.
    """

    def __init__(self, network: VideoResNet) -> None:
        super().__init__()
        for name, module in network.named_modules():
            if isinstance(module, Bottleneck) and not _is_known(module):
                raise TypeError(f"{name} is of layers that are not written in eager PyTorch here")
        self.network = network

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        network = self.network
        x = network.maxpool(_bn_relu(network.conv1(frames), network.bn1))
        for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
            for block in stage:
                x = _block(block, x)
        logits = network.fc(network.dropout(x.mean((2, 3))))
        return logits.unflatten(0, (-1, network.num_segments)).mean(1)


@torch.no_grad()
def folded(network: VideoResNet) -> EagerNetwork:
    """Return a copy whose batch norms are folded into convolutions, all that follow one.

    Those behind an STC follow its gates, and stay.
    """
    network = copy.deepcopy(network)
    network.conv1, network.bn1 = _folded(network.conv1, network.bn1)
    for block in (each for each in network.modules() if isinstance(each, Bottleneck)):
        block.conv1, block.bn1 = _folded(block.conv1, block.bn1)
        block.conv3, block.bn3 = _folded(block.conv3, block.bn3)
        if not isinstance(block.conv2, STC):
            block.conv2, block.bn2 = _folded(block.conv2, block.bn2)
        if block.downsample is not None:
            block.downsample = nn.Sequential(*_folded(*block.downsample))
    return EagerNetwork(network.to(memory_format=torch.channels_last))


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[nn.Conv2d, nn.Module]:
    return fuse_conv_bn_eval(convolution, norm), nn.Identity()


def _is_known(block: Bottleneck) -> bool:
    return type(block.conv2) in (nn.Conv2d, STC) and type(block.entry) is nn.Identity


def _block(block: Bottleneck, x: torch.Tensor) -> torch.Tensor:
    u = block.conv1(x)
    if isinstance(block.conv2, STC):
        w = block.conv3(_stc(block.conv2, u, block.bn1, block.bn2))
    else:
        w = block.conv3(_bn_relu(block.conv2(_bn_relu(u, block.bn1)), block.bn2))
    identity, identity_norm = x, None
    if block.downsample is not None:
        convolution, identity_norm = block.downsample
        identity = convolution(x)
    if isinstance(block.bn3, nn.Identity):
        w += identity
        return w.relu_()
    identity_bn = None if identity_norm is None else _bn(identity_norm)
    return eager.bn_add_relu(w, _bn(block.bn3), identity, identity_bn)


def _stc(stc: STC, u: torch.Tensor, before: nn.Module, after: nn.Module) -> torch.Tensor:
    shift_div = stc.spatial.shift.shift_div
    arguments = (stc.branch_inputs, stc.num_segments, stc.stride, shift_div)
    if isinstance(before, nn.Identity):
        spatial_x, temporal_x = eager.shift_split(u.relu_(), *arguments)
    else:
        spatial_x, temporal_x = eager.bn_relu_shift_split(u, _bn(before), *arguments)
    return eager.refine_bn_relu(
        stc.spatial.conv(spatial_x),
        _convolved_over_time(stc.temporal.conv, temporal_x, stc.num_segments),
        _bn(after),
        stc.num_segments,
        stc.spatial.refine.gate_network.weights,
        stc.temporal.refine.gate_network.weights,
    )


def _convolved_over_time(
    convolution: TemporalConv2d, frames: torch.Tensor, num_segments: int
) -> torch.Tensor:
    if format_of(frames) == torch.contiguous_format:
        clips = frames.unflatten(0, (-1, num_segments)).transpose(1, 2)
        out = F.conv3d(clips, convolution.weight[..., None], padding=(1, 0, 0))
        return out.transpose(1, 2).flatten(0, 1)
    # Channels_last frames are an image (N, C, T, H*W), to which a 2-D convolution is faster.
    pixels = frames.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, (-1, num_segments))
    out = F.conv2d(pixels.permute(0, 3, 1, 2), convolution.weight, padding=(1, 0))
    out = out.permute(0, 2, 3, 1).flatten(0, 1).unflatten(1, frames.shape[2:])
    return out.permute(0, 3, 1, 2)


def _bn_relu(u: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    return u.relu_() if isinstance(norm, nn.Identity) else eager.bn_relu(u, _bn(norm))


def _bn(norm: nn.BatchNorm2d) -> stc_ops.BatchNorm:
    return stc_ops.nn.batch_norm_of(norm)
