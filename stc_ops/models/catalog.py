"""The networks of this package by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from .builders import (
    c3d_resnet50,
    gst_large_resnet50,
    gst_resnet50,
    p3d_resnet50,
    stc_light_resnet50,
    stc_resnet50,
    tsm_resnet50,
    tsn_resnet50,
)
from .relatives import stm_resnet50, tam_resnet50, tea_resnet50, tin_resnet50
from .resnet import VideoResNet


class Network(NamedTuple):
    """A network that can be built by name.

    Attributes:
        title: its name in tables and figures.
        builder: called with ``num_classes``, ``num_segments`` and the keywords of its own.
        publication: what it implements.
    """

    title: str
    builder: Callable[..., VideoResNet]
    publication: str


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "tsn": Network("TSN", tsn_resnet50, "Wang et al., ECCV 2016"),
        "c3d": Network("C3D", c3d_resnet50, "Tran et al., ICCV 2015"),
        "p3d": Network("P3D", p3d_resnet50, "Qiu et al., ICCV 2017"),
        "tsm": Network("TSM", tsm_resnet50, "Lin et al., ICCV 2019"),
        "gst": Network("GST", gst_resnet50, "Luo & Yuille, ICCV 2019"),
        "gst-large": Network("GST-Large", gst_large_resnet50, "Luo & Yuille, ICCV 2019"),
        "stm": Network("STM", stm_resnet50, "Jiang et al., ICCV 2019"),
        "tin": Network("TIN", tin_resnet50, "Shao et al., AAAI 2020"),
        "tea": Network("TEA", tea_resnet50, "Li et al., CVPR 2020"),
        "tam": Network("TAM", tam_resnet50, "Liu et al., ICCV 2021"),
        "stc": Network("STC", stc_resnet50, "Hao et al."),
        "stc-light": Network("STC-Light", stc_light_resnet50, "Hao et al."),
    }
)
"""All of them, of ResNet-50's size, by the names that the command line takes."""
