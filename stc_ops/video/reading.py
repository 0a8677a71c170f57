"""Decoding of the frames that TSN samples from a video, with PyAV."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .container import check_is_readable_file, import_pyav, open_video
from .counting import check_promise, count_shown_frames
from .errors import VideoError
from .sampling import middle_frame_indices

if TYPE_CHECKING:
    from av import VideoFrame


@dataclass(frozen=True)
class Clip:
    """Frames sampled from one video."""

    frames: torch.Tensor
    """uint8, (T, 3, H, W), RGB, turned upright."""
    indices: tuple[int, ...]
    """Position of each sampled frame among the frames of the video, from 0."""
    seconds: tuple[float | None, ...]
    """Presentation time of each sampled frame, None where the video does not say."""
    frame_count: int
    """Number of frames of the whole video."""
    frame_rate: float | None
    """Average frames per second, None where the video does not say."""


def read_clip(
    path: str | os.PathLike[str],
    num_segments: int,
    on_frame: Callable[[int, int], None] | None = None,
) -> Clip:
    """Decode a video once and keep the middle frame of each of `num_segments` equal groups.

    The frames are counted first, from the packets, without decoding them; then every frame is
    decoded, so that damage anywhere in the video is found, and all but the sampled ones are dropped
    at once. Decoding is repeated only if it gave a few frames less than there are packets.

    Args:
        path: a video file of any format that FFmpeg reads.
        num_segments: T, the number of frames to sample.
        on_frame: called with (frames decoded, frames to decode) after each frame.

    Raises:
        VideoError: if the file is missing, is not a video, is truncated or damaged, has fewer
            than `num_segments` frames, or if PyAV is not installed.
    """
    pyav = import_pyav()
    file = os.fspath(path)
    check_is_readable_file(file)
    try:
        packets = count_shown_frames(file)
        clip = _decode(file, packets, num_segments, on_frame)
        if clip.frame_count != packets:
            clip = _decode(file, clip.frame_count, num_segments, on_frame)
    except pyav.FFmpegError as error:
        raise VideoError(
            f"cannot decode '{file}': not a video, or truncated or damaged ({error.strerror})"
        ) from error
    return clip


def _decode(
    file: str,
    frame_count: int,
    num_segments: int,
    on_frame: Callable[[int, int], None] | None,
) -> Clip:
    """Decode the whole video and keep the frames sampled as if it had `frame_count` frames."""
    if frame_count < num_segments:
        raise VideoError(
            f"'{file}' is too short: {num_segments} frames to sample, and {frame_count} in all"
        )
    indices = middle_frame_indices(frame_count, num_segments)
    wanted = frozenset(indices)
    frames: list[torch.Tensor] = []
    seconds: list[float | None] = []
    decoded = 0
    with open_video(file) as container:
        video = container.streams.video[0]
        video.thread_type = "AUTO"
        # A stream may change its size on the way, a clip may not.
        width, height = video.width, video.height
        for frame in container.decode(video):
            if decoded in wanted:
                frames.append(_upright_rgb(frame, width, height))
                seconds.append(frame.time)
            decoded += 1
            if on_frame is not None:
                on_frame(decoded, frame_count)
        frame_rate = float(video.average_rate) if video.average_rate else None
    check_promise(file, "frames", decoded, frame_count)
    return Clip(torch.stack(frames), tuple(indices), tuple(seconds), decoded, frame_rate)


def _upright_rgb(frame: VideoFrame, width: int, height: int) -> torch.Tensor:
    rgb = torch.from_numpy(frame.to_ndarray(format="rgb24", width=width, height=height))
    # PyAV before 13 does not give the rotation.
    quarter_turns = round(getattr(frame, "rotation", 0) / 90)
    return torch.rot90(rgb, quarter_turns, dims=(0, 1)).permute(2, 0, 1).contiguous()
