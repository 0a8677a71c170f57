"""Small films whose frames tell their number, and ways to change them."""

import struct
from fractions import Fraction

import numpy as np
import pytest

from stc_ops.video import VideoError, read_clip

av = pytest.importorskip("av")

BRIGHTNESS_STEP = 5
ONE = 1 << 16


def write_video(
    path,
    frame_count=48,
    size=(64, 48),
    codec="mpeg4",
    times=None,
    encoder=None,
    **container_options,
):
    """Frame k is grey of brightness 5 * k, so that a decoded frame tells its number."""
    with av.open(str(path), "w", options=container_options) as container:
        stream = add_stream(container, codec, size, encoder)
        for packet in grey_packets(stream, frame_count, times):
            container.mux(packet)
    return path


def add_stream(container, codec="mpeg4", size=(64, 48), encoder=None):
    """Add a stream of 25 frames/s; `encoder` are options of the encoder."""
    try:
        av.Codec(codec, "w")
    except ValueError:
        pytest.skip(f"this PyAV has no encoder {codec}")
    stream = container.add_stream(codec, rate=25)
    stream.width, stream.height = size
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    stream.bit_rate = 4_000_000
    stream.codec_context.options = encoder or {}
    return stream


def grey_packets(stream, frame_count, times=None):
    for number in range(frame_count):
        shape = (stream.height, stream.width, 3)
        pixels = np.full(shape, BRIGHTNESS_STEP * number, np.uint8)
        yield from encode(stream, pixels, number if times is None else times[number])
    yield from stream.encode()


def noise_packets(stream, frame_count):
    """Encode frames that need some bytes each."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (stream.height // 4, stream.width // 4, 3), np.uint8)
    pixels = pixels.repeat(4, 0).repeat(4, 1)
    for number in range(frame_count):
        yield from encode(stream, np.roll(pixels, 3 * number, 1), number)
    yield from stream.encode()


def write_noise(path, codec="mpeg4", frame_count=48, **container_options):
    with av.open(str(path), "w", options=container_options) as container:
        stream = add_stream(container, codec)
        for packet in noise_packets(stream, frame_count):
            container.mux(packet)
    return path


def encode(stream, pixels, time):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    frame.pts = time
    frame.time_base = Fraction(1, 25)
    return stream.encode(frame)


def set_display_matrix(path, a, b, c, d):
    """Write the first four numbers of the matrix of an mp4 track."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    numbers = [round(number * ONE) for number in (a, b, 0, c, d, 0, 0, 0)]
    struct.pack_into(">9i", content, matrix, *numbers, 1 << 30)
    path.write_bytes(content)


def truncate(path, kept):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    return path


def frame_numbers(clip):
    brightness = clip.frames.float().mean((1, 2, 3))
    return (brightness / BRIGHTNESS_STEP).round().int().tolist()


def error_of(path, num_segments=8):
    with pytest.raises(VideoError) as caught:
        read_clip(path, num_segments)
    return str(caught.value)


def undecodable(path):
    return (
        f"cannot decode '{path}': not a video, or truncated or damaged "
        "(Invalid data found when processing input)"
    )
