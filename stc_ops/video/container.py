"""Opening a video file with PyAV, and choosing the stream that is the film."""

from __future__ import annotations

import os
import stat
from collections.abc import Container
from types import ModuleType
from typing import TYPE_CHECKING

from .errors import VideoError

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

# Those before take every film for BT.601, and 19 has another av.open.
PYAV_VERSIONS = (17, 18)
# FFmpeg draws text files as video with these.
TEXT_CODECS = frozenset({"ansi", "bintext", "idf", "xbin"})
# What ffmpeg's automatic choice adds to the pixels of a stream.
DEFAULT_STREAM_SCORE = 5_000_000


def import_pyav() -> ModuleType:
    """Return PyAV's module.

    Raises:
        VideoError: if PyAV is not installed, or another version than those that show films right.
    """
    try:
        import av
    except ImportError as error:
        raise VideoError("reading videos needs PyAV: pip install 'stc_ops[video]'") from error
    if int(av.__version__.split(".")[0]) not in PYAV_VERSIONS:
        raise VideoError(
            f"reading videos needs PyAV {' or '.join(map(str, PYAV_VERSIONS))}, "
            f"got {av.__version__}: pip install 'stc_ops[video]'"
        )
    return av


def check_is_readable_file(file: str) -> None:
    """Check what FFmpeg would say less clearly.

    Raises:
        VideoError: if `file` is missing, not a regular file, or not readable.
    """
    try:
        mode = os.stat(file).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            # It could not be read twice, and opening a pipe would wait for its writer.
            raise VideoError(f"cannot read '{file}': it is not a regular file")
        with open(file, "rb"):
            pass
    except OSError as error:
        raise VideoError(f"cannot read '{file}': {error.strerror}") from error


def open_container(file: str) -> InputContainer:
    """Open `file` for demuxing.

    Raises:
        av.FFmpegError: if FFmpeg does not know the format.
    """
    # Without the protocol's name FFmpeg takes what stands before a colon in a file name for one.
    return import_pyav().open(f"file:{file}", metadata_errors="replace")


def choose_video_stream(
    file: str, container: InputContainer, with_packets: Container[int]
) -> VideoStream:
    """Return the stream that ffmpeg would choose: the largest one, a default one preferred.

    Attached pictures, such as the cover of a song and the thumbnails of a film, are none.

    Args:
        file: its name, for messages.
        container: the open file.
        with_packets: the indices of streams that are not empty; empty ones come last.

    Raises:
        VideoError: if there is no video stream, or none that can be decoded.
    """
    disposition = import_pyav().stream.Disposition
    streams = container.streams.video
    films = [stream for stream in streams if not stream.disposition & disposition.attached_pic]
    if streams and not films:
        raise VideoError(f"'{file}' has no video stream, only a cover picture")

    def score(stream: VideoStream) -> tuple[bool, int]:
        # FFmpeg does not tell the size of what it cannot decode.
        pixels = stream.width * stream.height if stream.codec_context else 0
        is_default = bool(stream.disposition & disposition.default)
        return stream.index in with_packets, pixels + DEFAULT_STREAM_SCORE * is_default

    film = max(films, key=score, default=None)
    decoder = film.codec_context if film is not None else None
    if decoder is None or decoder.name in TEXT_CODECS:
        raise VideoError(f"'{file}' has no video stream that can be decoded")
    return film
