"""Counting the frames of a video without decoding them, and noticing that some are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .container import import_pyav, open_video
from .errors import VideoError

if TYPE_CHECKING:
    from av import Packet

# Containers round their durations, and decoders drop a hidden frame now and then.
LEAST_FRACTION_OF_PROMISE = 0.95


def count_shown_frames(file: str) -> int:
    """Count the packets of `file` that are to be shown, an edit list of the container considered.

    Raises:
        VideoError: if the file is truncated: its last frame is incomplete, or it ends earlier than
            its header promises. All streams count, since sound may be longer than the pictures.
    """
    shown = 0
    end = 0.0
    last_is_corrupt: dict[int, bool] = {}
    with open_video(file) as container:
        video = container.streams.video[0]
        frame_seconds = float(1 / video.average_rate) if video.average_rate else 0.0
        for packet in container.demux():
            if packet.size == 0:
                continue
            shown += packet.stream is video and not packet.is_discard
            end = max(end, _end_of(packet, frame_seconds))
            last_is_corrupt[packet.stream_index] = packet.is_corrupt
        ticks_per_second = import_pyav().time_base
        seconds = end - (container.start_time or 0) / ticks_per_second
        seconds_promised = (container.duration or 0) / ticks_per_second
    if any(last_is_corrupt.values()):
        raise VideoError(f"'{file}' is truncated or damaged: its last frame is incomplete")
    check_promise(file, "seconds", seconds, seconds_promised)
    return shown


def check_promise(file: str, unit: str, found: float, promised: float) -> None:
    """Compare what `file` has with what it promises.

    Raises:
        VideoError: if much is missing.
    """
    if found < LEAST_FRACTION_OF_PROMISE * promised:
        raise VideoError(
            f"'{file}' is truncated or damaged: {found:.6g} {unit} found of {promised:.6g}"
        )


def _end_of(packet: Packet, frame_seconds: float) -> float:
    if packet.pts is None:
        return 0.0
    duration = float(packet.duration * packet.time_base) if packet.duration else frame_seconds
    return float(packet.pts * packet.time_base) + duration
