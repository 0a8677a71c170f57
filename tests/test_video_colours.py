"""Colours: the matrix and the range that a film is tagged with."""

import pytest
import torch
from films import av

from stc_ops.video import read_clip

# Weights of red and blue in luminance, as the standards give them.
MATRICES = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt2020nc": (0.2627, 0.0593)}
# What swscale's integers lose.
TOLERANCE = 1.5


def write_flat(path, colours, colourspace, colour_range):
    """Write frames of one colour each, given as (Y, Cb, Cr), without loss."""
    with av.open(str(path), "w") as container:
        options = {"colorspace": colourspace, "color_range": colour_range, "qp": "0"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        for colour in colours:
            frame = av.VideoFrame(64, 48, "yuv444p")
            for plane, value in zip(frame.planes, colour, strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("colour_range", ["tv", "pc"])
@pytest.mark.parametrize("colourspace", MATRICES)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_colours(tmp_path, suffix, colourspace, colour_range):
    if "libx264" not in av.codec.codecs_available:
        pytest.skip("this PyAV has no encoder libx264")
    colours = [(128, 128, 128), (81, 90, 200), (145, 80, 60), (60, 190, 110), (180, 110, 140)]
    path = write_flat(tmp_path / f"clip.{suffix}", colours, colourspace, colour_range)
    red, blue = MATRICES[colourspace]
    expected = []
    for luminance, *chrominance in colours:
        y = luminance / 255 if colour_range == "pc" else (luminance - 16) / 219
        b, r = ((value - 128) / (255 if colour_range == "pc" else 224) for value in chrominance)
        rgb = [y + 2 * (1 - red) * r, 0.0, y + 2 * (1 - blue) * b]
        rgb[1] = (y - red * rgb[0] - blue * rgb[2]) / (1 - red - blue)
        expected.append(rgb)
    shown = read_clip(path, len(colours)).frames.double().mean((2, 3))
    wanted = 255 * torch.tensor(expected, dtype=torch.float64).clamp(0, 1)
    assert (shown - wanted).abs().max() <= TOLERANCE
