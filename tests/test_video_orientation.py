"""Films as players show them: upright, and with square pixels."""

import math
import shutil
import struct
import subprocess
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from films import add_stream, av, encode, set_display_matrix, write_video

from stc_ops.video import VideoError, read_clip
from stc_ops.video.picture import Orientation, Projector

ROTATIONS = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)]
MIRRORED = [(-1, 0, 0, 1), (0, -1, -1, 0), (1, 0, 0, -1), (0, 1, 1, 0)]
DEGENERATE = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 0), (1, 0, 1, 0)]
SKEWED = [
    (math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)) for angle in (0.5, 2)
]


def write_ramps(path, pixel_aspect=None):
    """Write two frames of 64x48 in which red grows to the right and blue grows downwards."""
    with av.open(str(path), "w") as container:
        stream = add_stream(container)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        pixels = np.full((48, 64, 3), 64, np.uint8)
        pixels[..., 0] += (2 * np.arange(64, dtype=np.uint8))[None]
        pixels[..., 2] += (3 * np.arange(48, dtype=np.uint8))[:, None]
        for number in range(2):
            container.mux(encode(stream, pixels, number))
        container.mux(stream.encode())
    return path


def brightest_corners(frame):
    """Return in which directions, x and y of the picture shown, red and blue grow."""
    directions = []
    for channel in (0, 2):
        plane = frame[channel].float()
        right = plane[:, -8:].mean() - plane[:, :8].mean()
        down = plane[-8:].mean() - plane[:8].mean()
        larger, smaller = sorted([abs(right), abs(down)], reverse=True)
        assert larger > 80
        assert smaller < 10
        directions.append((round((right / larger).item()), round((down / larger).item())))
    return directions


class TestDisplayMatrix:
    @pytest.mark.parametrize("matrix", ROTATIONS + MIRRORED)
    def test_all_eight_orientations(self, tmp_path, matrix):
        path = write_ramps(tmp_path / "clip.mp4")
        set_display_matrix(path, *matrix)
        frame = read_clip(path, 1).frames[0]
        # ISO/IEC 14496-12: (x, y) of the track is shown at (a x + c y, b x + d y).
        a, b, c, d = matrix
        assert brightest_corners(frame) == [(a, b), (c, d)]
        assert frame.shape == ((3, 48, 64) if a else (3, 64, 48))

    @pytest.mark.parametrize("matrix", DEGENERATE)
    def test_a_degenerate_matrix_is_ignored(self, tmp_path, matrix):
        path = write_ramps(tmp_path / "clip.mp4")
        expected = read_clip(path, 1).frames
        set_display_matrix(path, *matrix)
        assert torch.equal(read_clip(path, 1).frames, expected)

    @pytest.mark.parametrize("degrees", [30, 135, 200, 359])
    def test_other_angles(self, degrees):
        # Where the matrix sends x, red, and y, blue: clockwise, as y goes down.
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        matrix = [round(number * 65536) for number in (cosine, sine, 0, -sine, cosine)]
        y, x = torch.meshgrid(torch.arange(-20, 21), torch.arange(-30, 31), indexing="ij")
        picture = torch.stack([128 + x, torch.zeros_like(x), 128 + y], -1).to(torch.uint8)
        shown = Orientation.of_display_matrix((*matrix, 0, 0, 0, 1 << 30)).apply(picture)
        assert shown.shape == picture.shape
        near = (x**2 + y**2) < 18**2
        red, blue = shown[..., 0].int() - 128, shown[..., 2].int() - 128
        assert ((red - (x * cosine + y * sine)).abs()[near] <= 0.6).all()
        assert ((blue - (y * cosine - x * sine)).abs()[near] <= 0.6).all()

    @pytest.mark.parametrize("matrix", [*ROTATIONS, *MIRRORED, *DEGENERATE, *SKEWED, (1, 1, 1, 1)])
    def test_is_what_ffmpeg_shows(self, tmp_path, matrix):
        if shutil.which("ffmpeg") is None:
            pytest.skip("needs the program ffmpeg")
        path = write_ramps(tmp_path / "clip.mp4")
        set_display_matrix(path, *matrix)
        frame = read_clip(path, 1).frames[0]
        command = ["ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", tmp_path / "frame.ppm"]
        subprocess.run(command, check=True)
        content = (tmp_path / "frame.ppm").read_bytes()
        size = f"{frame.shape[2]} {frame.shape[1]}".encode()
        assert content.split(b"\n")[:3] == [b"P6", size, b"255"]
        pixels = np.frombuffer(content[-frame.numel() :], np.uint8).reshape(*frame.shape[1:], 3)
        difference = frame.permute(1, 2, 0).int() - torch.from_numpy(pixels.astype(np.int32))
        # Chrominance of half the size is turned before it is enlarged: borders differ.
        inside = difference[12:-12, 12:-12].abs()
        assert inside.float().mean() < 2
        assert inside.max() < 10

    def test_side_data_that_pyav_does_not_know(self):
        class SideData:
            def get(self, kind):
                raise ValueError("31 is not a valid Type")

        pixels = np.zeros((4, 6, 3), np.uint8)
        frame = SimpleNamespace(
            side_data=SideData(), rotation=0, height=4, width=6, to_ndarray=lambda **options: pixels
        )
        assert Projector("clip.mjpeg", None).show(frame).shape == (3, 4, 6)
        frame.rotation = -90
        with pytest.raises(VideoError, match=r"cannot bring 'clip\.mjpeg' upright: this version"):
            Projector("clip.mjpeg", None).show(frame)


class TestPixelAspect:
    @pytest.mark.parametrize("suffix", ["mp4", "mkv"])
    @pytest.mark.parametrize(
        ("pixel_aspect", "size"),
        [((1, 1), (48, 64)), ((2, 1), (48, 128)), ((16, 15), (48, 68)), ((2, 3), (72, 64))],
    )
    def test_pixels_are_made_square(self, tmp_path, suffix, pixel_aspect, size):
        path = write_ramps(tmp_path / f"clip.{suffix}", Fraction(*pixel_aspect))
        frame = read_clip(path, 1).frames[0]
        assert frame.shape == (3, *size)
        assert brightest_corners(frame) == [(1, 0), (0, 1)]

    def test_before_the_film_is_turned(self, tmp_path):
        path = write_ramps(tmp_path / "clip.mp4", Fraction(2, 1))
        set_display_matrix(path, *ROTATIONS[1])
        assert read_clip(path, 1).frames[0].shape == (3, 128, 48)

    def test_absurd_pixels(self, tmp_path):
        path = write_ramps(tmp_path / "clip.mp4", Fraction(2, 1))
        content = bytearray(path.read_bytes())
        aspect = content.index(b"pasp") + 4
        for width, height in [(1, 1000), (1000, 1)]:
            struct.pack_into(">ii", content, aspect, width, height)
            path.write_bytes(content)
            with pytest.raises(VideoError) as caught:
                read_clip(path, 1)
            assert str(caught.value) == (
                f"cannot show '{path}': its pixels are said to be {width} wide and {height} high"
            )

    def test_a_frame_of_another_size_is_resized_to_the_first(self, tmp_path):
        large = write_video(tmp_path / "large.m2v", 24, (128, 96), "mpeg2video").read_bytes()
        small = write_video(tmp_path / "small.m2v", 24, codec="mpeg2video").read_bytes()
        path = tmp_path / "both.m2v"
        path.write_bytes(small + large)
        clip = read_clip(path, 4)
        assert 47 <= clip.frame_count <= 48
        assert clip.frames.shape == (4, 3, 48, 64)
