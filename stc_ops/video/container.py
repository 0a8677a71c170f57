"""Opening a video file with PyAV."""

from __future__ import annotations

import os
import stat
from types import ModuleType
from typing import TYPE_CHECKING

from .errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer

# FFmpeg draws text files as video with these.
TEXT_CODECS = frozenset({"ansi", "bintext", "idf", "xbin"})


def import_pyav() -> ModuleType:
    """Return PyAV's module.

    Raises:
        VideoError: if PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise VideoError("reading videos needs PyAV: pip install 'stc_ops[video]'") from error
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


def open_video(file: str) -> InputContainer:
    """Open `file`, which has a first video stream that can be decoded.

    Raises:
        VideoError: if it has none.
        av.FFmpegError: if FFmpeg does not know the format.
    """
    # Without the protocol's name FFmpeg takes what stands before a colon in a file name for one.
    container = import_pyav().open(f"file:{file}", metadata_errors="replace")
    streams = container.streams.video
    decoder = streams[0].codec_context if streams else None
    if decoder is None or decoder.name in TEXT_CODECS:
        container.close()
        raise VideoError(f"'{file}' has no video stream that can be decoded")
    return container
