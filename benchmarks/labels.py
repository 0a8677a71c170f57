"""What the report calls things: in the tables and in the figure alike."""

from __future__ import annotations

from typing import NamedTuple

from results import ON_GPU, Key, Row

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
NETWORKS = {"stc": "STC-ResNet-50", "tsn": "TSN-ResNet-50", "c3d": "C3D-ResNet-50"}
WAYS = {
    "cpu": "fused operators",
    "cuda": "fused operators on the GPU",
    "triton": "fused operators on the GPU, in Triton",
    "optimized": "optimize_for_inference",
}


class Competitor(NamedTuple):
    """What rows are compared with: its name, and a colour that the colour-blind can tell.

    Attributes:
        computes_the_same: and so may be the fastest of those that do.
    """

    name: str
    colour: str
    computes_the_same: bool = True


# The palette of Okabe and Ito.
COMPETITORS = {
    "times_eager": Competitor("eager PyTorch", "#0072B2"),
    "times_eager_folded": Competitor("eager, batch norms folded", "#56B4E9"),
    "times_compiled": Competitor("torch.compile of the layers", "#E69F00"),
    "times_compiled_eager": Competitor("torch.compile of eager", "#D55E00"),
    "times_openvino": Competitor("OpenVINO", "#009E73"),
    "times_compiled_tsn": Competitor("TSN in torch.compile", "#CC79A7", False),
    "times_openvino_tsn": Competitor("TSN in OpenVINO", "#999999", False),
}
FASTEST = "times_fastest"


def with_fastest(row: Row) -> Row:
    """Return a row with the smallest of its ratios to what computes the same."""
    ratios = [
        row[name] for name, each in COMPETITORS.items() if each.computes_the_same and name in row
    ]
    return {**row, FASTEST: min(ratios)} if ratios else row


def way_of(key: Key) -> str:
    if key.backend.endswith(ON_GPU):
        return f"{WAYS[key.backend.removesuffix(ON_GPU)]} on the GPU"
    return WAYS[key.backend]


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def setting_of(key: Key) -> str:
    clips = f"{plural(key.clips, 'clip')} of {plural(key.num_segments, 'frame')}"
    return f"{key.dtype}, {FORMATS[key.memory_format]}, {clips}"
