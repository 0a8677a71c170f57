"""I3D: C3D's network that starts from an image network."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .builders import c3d_resnet50
from .resnet import VideoResNet
from .weights import load_imagenet_weights


def i3d_resnet50(
    image_weights: Mapping[str, torch.Tensor],
    num_classes: int = 174,
    num_segments: int = 8,
    *,
    dropout: float = 0.5,
    fused: bool = True,
) -> VideoResNet:
    """Build I3D: :func:`c3d_resnet50`, inflated (Carreira & Zisserman, CVPR 2017; paper, II).

    The I3D of the paper's table IV, with 28.0 M parameters, is another network, Wang & Gupta's
    (ECCV 2018): 3x1x1 kernels in the first convolution of about every second block, a 5x7x7 stem, a
    pool over time, 32 frames and 400 classes.

    Args:
        image_weights: complete, as ``torchvision.models.resnet50(weights=...).state_dict()``.
        num_classes: logits of one clip.
        num_segments: T, the frames of one clip.
        dropout: probability of dropping a feature before the classifier.
        fused: whether to run the fused operators; see :class:`VideoResNet`.

    Raises:
        TypeError: an argument that must be an integer is none.
        ValueError: an argument is out of range, or `image_weights` do not fit.
    """
    model = c3d_resnet50(num_classes, num_segments, dropout=dropout, fused=fused)
    load_imagenet_weights(model, image_weights)
    return model
