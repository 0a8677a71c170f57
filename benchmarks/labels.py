"""What the report calls things: in the tables and in the figure alike."""

from __future__ import annotations

from typing import NamedTuple

from results import ON_GPU, Key

MODES = {
    "eval-forward": "evaluation",
    "training-forward": "training, forward",
    "training-backward": "training, backward",
    "training-both": "training, forward + backward",
    "training-step": "training step",
    "forward": "forward",
    "backward-operator": "backward operator",
    "backward": "backward",
    "both": "forward + backward",
}
FAMILY_NAMES = {"fused": "Fused operators", "primitive": "Primitive operators"}
FORMATS = {"nhwc": "channels_last", "nchw": "contiguous"}
NETWORKS = {"stc_resnet50": "STC-ResNet-50", "tsn_resnet50": "TSN-ResNet-50"}
WAYS = {
    "cpu": "fused operators",
    "cuda": "fused operators on the GPU",
    "triton": "fused operators on the GPU, in Triton",
    "optimized": "optimize_for_inference",
    "reference": "reference backend",
    "compiled-reference": "torch.compile",
    "compiled-tsn": "torch.compile",
    "openvino": "OpenVINO",
}


class Competitor(NamedTuple):
    """What rows are compared with: its name, and a colour that the colour-blind can tell."""

    name: str
    colour: str


# The palette of Okabe and Ito.
COMPETITORS = {
    "times_eager": Competitor("eager PyTorch", "#0072B2"),
    "times_compiled": Competitor("torch.compile", "#E69F00"),
    "times_openvino": Competitor("OpenVINO", "#009E73"),
    "times_compiled_tsn": Competitor("TSN in torch.compile", "#CC79A7"),
}


def way_of(key: Key) -> str:
    if key.backend.endswith(ON_GPU):
        return f"{WAYS[key.backend.removesuffix(ON_GPU)]} on the GPU"
    return WAYS[key.backend]


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def setting_of(key: Key) -> str:
    clips = f"{plural(key.clips, 'clip')} of {plural(key.num_segments, 'frame')}"
    return f"{key.dtype}, {FORMATS[key.memory_format]}, {clips}"
