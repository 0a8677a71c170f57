"""Decoding of the frames that TSN samples from a video, with PyAV."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .container import check_is_readable_file, import_pyav, open_container
from .errors import VideoError
from .picture import Projector
from .sampling import middle_frame_indices
from .survey import Survey, check_promise, survey


@dataclass(frozen=True)
class Clip:
    """Frames sampled from one video."""

    frames: torch.Tensor
    """uint8, (T, 3, H, W), RGB, upright, with square pixels."""
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

    The film is the stream that the program ffmpeg would choose, attached pictures (covers and
    thumbnails) excepted. Frames are shown as players do: turned and mirrored as the display matrix
    says, and with pixels that are not square made square, by enlarging the shorter side of them.
    A frame that has another size than the first is resized to that.

    A damaged video is an error where FFmpeg or the container notices: a packet of the film, the
    last packet of any stream or a decoded frame is flagged as corrupt; a decoder fails; the file
    ends inside a packet of a transport stream, a page of Ogg or the segment of Matroska; more than
    5 % is missing of the duration in the header, or of the frames from the first on that can be
    decoded (of interlaced films half, since each field may have a packet).

    What nobody notices passes: a part cut off between two frames where no header gives the duration
    (transport and program streams, Ogg, raw streams); frames lost in the middle of a container that
    does not number its packets (all but transport streams); changed bytes that the decoder takes
    for a picture or hides, as most are in VP8, VP9, HEVC, MJPEG, Theora and WMV and some in H.264.
    Transport streams that were joined byte by byte count as damaged unless their packets are
    numbered on. One thread decodes, since FFmpeg's do not report all errors.

    Args:
        path: a video file of any format that FFmpeg reads.
        num_segments: T, the number of frames to sample.
        on_frame: called with (frames decoded, frames to decode) after each frame.

    Raises:
        VideoError: if the file is missing, has no video stream, is truncated or damaged as said
            above, has fewer than `num_segments` frames, or if PyAV is not installed.
    """
    pyav = import_pyav()
    file = os.fspath(path)
    check_is_readable_file(file)
    try:
        film = survey(file)
        return _decode(file, film, len(film.times), num_segments, on_frame)
    except pyav.FFmpegError as error:
        raise VideoError(
            f"cannot decode '{file}': not a video, or truncated or damaged ({error.strerror})"
        ) from error


def _decode(
    file: str,
    film: Survey,
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
    first_time = None
    packets_of_a_frame = 1
    decoded = 0
    with open_container(file) as container:
        video = container.streams[film.stream_index]
        # With threads some frames are returned before their errors are known.
        video.thread_type = "NONE"
        projector = Projector(file, video.sample_aspect_ratio)
        for frame in container.decode(video):
            if frame.is_corrupt:
                raise VideoError(f"'{file}' is truncated or damaged: frame {decoded} is corrupt")
            if decoded == 0:
                first_time = frame.pts
            if frame.interlaced_frame:
                # Each of its fields may be a picture of its own.
                packets_of_a_frame = 2
            if decoded in wanted:
                frames.append(projector.show(frame))
                seconds.append(frame.time)
            decoded += 1
            if on_frame is not None:
                on_frame(decoded, frame_count)
        frame_rate = float(video.average_rate) if video.average_rate else None
    check_promise(file, "frames", decoded, film.count_from(first_time) / packets_of_a_frame)
    if decoded != frame_count:
        return _decode(file, film, decoded, num_segments, on_frame)
    return Clip(torch.stack(frames), tuple(indices), tuple(seconds), decoded, frame_rate)
