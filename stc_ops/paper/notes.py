"""What is to be said of rows whose figures do not agree with the paper's, or are no figures."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NOTES: Mapping[str, str] = MappingProxyType(
    {
        "floor-of-8": (
            "The formula leaves out that no gate has fewer than 8 hidden channels, max(8, "
            "(1 - alpha) C / r): here T_S has 8 and not 4. The FLOPs of Table II include it."
        ),
        "tsn-top-1": "TSN's top-1 is 17.7 in Table II and 19.7 in Table IV.",
        "c3d": (
            "Parameters cited from the GST paper. They contradict Table I and the FLOPs beside "
            "them: sixteen convolutions of 27 C^2 instead of 9 C^2 make 46.5M."
        ),
        "p3d": (
            "Parameters cited from the GST paper. They contradict Table I and the FLOPs beside "
            "them: sixteen layers of 12 C^2 instead of 9 C^2 make 27.6M."
        ),
        "gst": (
            "FLOPs cited from the GST paper, whose official code has 29.178G by the same counting "
            "(twice that for 16 frames)."
        ),
        "gst-large": (
            "Cited from the GST paper. Its input is not split: both paths see all channels."
        ),
        "alpha-0": (
            "The FLOPs are those of alpha = 1, a slip: sixteen 3x1x1 convolutions and their gates "
            "have fewer than any 3x3."
        ),
        "stc-equal": (
            "Both branches take half of the channels and give alpha C and (1 - alpha) C. "
            "Parameters agree; where the other 0.2G of FLOPs are is not known."
        ),
        "i3d": (
            "Wang & Gupta's network (ECCV 2018), with 3x1x1 kernels in about every second block, a "
            "5x7x7 stem, a pool over time, and 400 classes. The I3D of this package is C3D, which "
            "starts from an image network."
        ),
        "tin": (
            "24.3M parameters are a ResNet-50's with the 400 classes of Kinetics (24.33M), without "
            "TIN's own 0.03M. Where the other 1.1G of FLOPs are is not known: TIN's networks see "
            "means over height and width, and have next to none."
        ),
        "tam": (
            "With the 400 classes of Kinetics there are 25.59M parameters. The FLOPs agree when "
            "they are rounded to whole G, 33 and 66."
        ),
        "stm": (
            "Parameters agree, and so do the FLOPs, 33.253G and 66.506G, if the motion module of a "
            "strided block computes all pixels and drops three in four; here it computes those "
            "that stay."
        ),
        "tea": (
            "Parameters agree. The FLOPs of 8 frames agree when they are rounded to whole G, 35; "
            "70.0 is twice that."
        ),
        "sum-of-rounded": (
            "The paper adds two rounded figures, 26.9 + 53.6; the sum, rounded once, is 80.4."
        ),
    }
)
"""By the names that rows have for them."""
