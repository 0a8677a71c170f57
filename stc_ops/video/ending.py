"""Noticing that a file ends early, in the containers whose demuxers in FFmpeg do not say so."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO

from .errors import VideoError

# Sizes of a transport stream's packet: plain, after a timestamp of 4 bytes, before 16 of parity.
TRANSPORT_PACKETS = {188: 0, 192: 4, 204: 0}
SYNC_BYTE = 0x47
SYNC_BYTES_IN_A_ROW = 5
SEGMENT_ID = bytes.fromhex("18538067")
OGG_PAGE_HEADER = 27
LARGEST_OGG_PAGE = OGG_PAGE_HEADER + 255 + 255 * 255


def check_ending(file: str, format_name: str) -> None:
    """Compare the size of `file` with what its container, FFmpeg's `format_name`, says of it.

    Raises:
        VideoError: if a transport stream ends inside a packet or Ogg inside a page, or if the
            segment of Matroska, or WebM, goes on beyond the end of the file.
    """
    if format_name not in _MISSING_BYTES:
        return
    with open(file, "rb") as content:
        missing = _MISSING_BYTES[format_name](content, os.fstat(content.fileno()).st_size)
    if missing > 0:
        raise VideoError(
            f"'{file}' is truncated or damaged: {missing} bytes are missing at its end"
        )


def _missing_of_transport_stream(content: BinaryIO, size: int) -> int:
    """Return the bytes that the last packet lacks, 0 where the size of packets is not clear."""
    head = content.read(max(TRANSPORT_PACKETS) * (SYNC_BYTES_IN_A_ROW + 1))
    for packet_size, before_sync in TRANSPORT_PACKETS.items():
        for start in range(packet_size):
            sync_bytes = head[start + before_sync :: packet_size][:SYNC_BYTES_IN_A_ROW]
            if sync_bytes == bytes([SYNC_BYTE]) * SYNC_BYTES_IN_A_ROW:
                return (start - size) % packet_size
    return 0


def _missing_of_matroska(content: BinaryIO, size: int) -> int:
    """Return the bytes that the segment lacks, 0 where it does not give its size."""
    content.seek(4)
    header_size = _read_variable_integer(content)
    if header_size is None:
        return 0
    content.seek(header_size, os.SEEK_CUR)
    if content.read(4) != SEGMENT_ID:
        return 0
    segment_size = _read_variable_integer(content)
    return 0 if segment_size is None else content.tell() + segment_size - size


def _read_variable_integer(content: BinaryIO) -> int | None:
    """Read EBML's integer of 1 to 8 bytes; all ones mean that it is not known, None."""
    first = content.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + content.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value


def _missing_of_ogg(content: BinaryIO, size: int) -> int:
    """Return the bytes that the last page lacks."""
    content.seek(max(0, size - LARGEST_OGG_PAGE))
    tail = content.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < OGG_PAGE_HEADER:
        return OGG_PAGE_HEADER - len(page)
    segments = page[OGG_PAGE_HEADER : OGG_PAGE_HEADER + page[OGG_PAGE_HEADER - 1]]
    return OGG_PAGE_HEADER + page[OGG_PAGE_HEADER - 1] + sum(segments) - len(page)


_MISSING_BYTES: dict[str, Callable[[BinaryIO, int], int]] = {
    "mpegts": _missing_of_transport_stream,
    "matroska,webm": _missing_of_matroska,
    "ogg": _missing_of_ogg,
}
