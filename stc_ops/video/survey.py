"""Reading all packets of a video without decoding them: which are shown, and what is missing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .container import choose_video_stream, import_pyav, open_container
from .ending import check_ending
from .errors import VideoError

if TYPE_CHECKING:
    from av import Packet

# Containers round their durations, and decoders drop a hidden frame now and then.
LEAST_FRACTION_OF_PROMISE = 0.95


@dataclass(frozen=True)
class Survey:
    """The film in a file, by its packets that are to be shown."""

    stream_index: int
    """Position of the film's stream among all streams of the file."""
    times: tuple[int | None, ...]
    """Presentation time of each packet, in the order of decoding and the units of the stream."""

    def count_from(self, first: int | None) -> int:
        """Count the packets that are not shown before the time `first`.

        Where a film begins in the middle of a group of pictures, as what is recorded from a
        broadcast, the first frames lack what they refer to and are not decoded.
        """
        return sum(first is None or time is None or time >= first for time in self.times)


def survey(file: str) -> Survey:
    """Read the packets of `file` and choose its film; an edit list of the container is considered.

    Raises:
        VideoError: if the file has no film, or if it is truncated or damaged: it ends inside a
            packet or earlier than its header promises, or FFmpeg flags a packet of the film as
            corrupt. All streams count for the end, since sound may be longer than the pictures.
    """
    times: defaultdict[int, list[int | None]] = defaultdict(list)
    corrupt: defaultdict[int, int] = defaultdict(int)
    last_is_corrupt: dict[int, bool] = {}
    end = 0.0
    with open_container(file) as container:
        for packet in container.demux():
            if packet.size == 0:
                continue
            index = packet.stream_index
            if not packet.is_discard:
                times[index].append(packet.pts)
            corrupt[index] += packet.is_corrupt
            last_is_corrupt[index] = packet.is_corrupt
            end = max(end, _end_of(packet))
        film = choose_video_stream(file, container, times)
        check_ending(file, container.format.name)
        ticks_per_second = import_pyav().time_base
        # Most durations count from 0, wherever the first frame is, and some from the first frame.
        seconds = end - min(container.start_time or 0, 0) / ticks_per_second
        seconds_promised = (container.duration or 0) / ticks_per_second
        found = Survey(film.index, tuple(times[film.index]))
    if any(last_is_corrupt.values()):
        raise VideoError(f"'{file}' is truncated or damaged: its last frame is incomplete")
    if corrupt[found.stream_index]:
        raise VideoError(
            f"'{file}' is truncated or damaged: packets of {corrupt[found.stream_index]} frames "
            "are corrupt or missing"
        )
    check_promise(file, "seconds", seconds, seconds_promised)
    return found


def check_promise(file: str, unit: str, found: float, promised: float) -> None:
    """Compare what `file` has with what it promises.

    Raises:
        VideoError: if much is missing.
    """
    if found < LEAST_FRACTION_OF_PROMISE * promised:
        raise VideoError(
            f"'{file}' is truncated or damaged: {found:.6g} {unit} found of {promised:.6g}"
        )


def _end_of(packet: Packet) -> float:
    if packet.pts is None:
        return 0.0
    if packet.duration:
        return float((packet.pts + packet.duration) * packet.time_base)
    rate = getattr(packet.stream, "average_rate", None)
    return float(packet.pts * packet.time_base) + (float(1 / rate) if rate else 0.0)
