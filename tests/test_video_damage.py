"""Damaged and truncated films are an error wherever FFmpeg or the container tells."""

import numpy as np
import pytest
from films import av, error_of, frame_numbers, truncate, undecodable, write_noise, write_video

from stc_ops.video import VideoError, read_clip

TRANSPORT_PACKET = 188


def film_packets(path):
    """Return positions and sizes of the packets of the film."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


class TestTruncated:
    @pytest.mark.parametrize("kept", [0.3, 0.6, 0.97, 0.999])
    @pytest.mark.parametrize(
        ("name", "codec"),
        [
            ("clip.mp4", "mpeg4"),
            ("clip.mkv", "mpeg4"),
            ("clip.avi", "mpeg4"),
            ("clip.flv", "flv"),
            ("clip.webm", "libvpx"),
            ("clip.webm", "libvpx-vp9"),
            ("clip.ts", "mpeg2video"),
            ("clip.ts", "libx264"),
            ("clip.ts", "libx265"),
            ("clip.m2ts", "libx264"),
            ("clip.ogv", "libvpx"),
        ],
    )
    def test_is_an_error(self, tmp_path, name, codec, kept):
        options = {"movflags": "faststart"} if name == "clip.mp4" else {}
        path = write_noise(tmp_path / name, codec, **options)
        if name == "clip.avi":
            # Its index comes last; without it all frames are there.
            path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"idx1")])
        assert read_clip(path, 8).frame_count == 48
        assert "truncated or damaged" in error_of(truncate(path, kept))

    def test_transport_stream_inside_a_packet(self, tmp_path):
        # 23 of 40 frames passed for the whole film.
        path = write_video(tmp_path / "clip.ts", 40, codec="mpeg2video")
        content = path.read_bytes()
        position, _ = film_packets(path)[23]
        path.write_bytes(content[: position + 100])
        assert (
            error_of(path) == f"'{path}' is truncated or damaged: 88 bytes are missing at its end"
        )
        path.write_bytes(content[:position])
        assert read_clip(path, 8).frame_count == 23

    def test_transport_stream_inside_a_frame(self, tmp_path):
        path = write_noise(tmp_path / "clip.ts", "mpeg2video")
        position, size = film_packets(path)[24]
        assert size > 3 * TRANSPORT_PACKET
        path.write_bytes(path.read_bytes()[: position + 2 * TRANSPORT_PACKET])
        assert error_of(path) == f"'{path}' is truncated or damaged: frame 24 is corrupt"

    def test_index_missing(self, tmp_path):
        path = truncate(write_video(tmp_path / "clip.mp4"), 0.5)
        assert error_of(path) == undecodable(path)

    @pytest.mark.parametrize("kept", [0.5, 0.9, 0.97])
    def test_inside_a_frame(self, tmp_path, kept):
        path = truncate(write_video(tmp_path / "clip.mp4", movflags="faststart"), kept)
        assert error_of(path) == f"'{path}' is truncated or damaged: its last frame is incomplete"

    def test_between_two_frames(self, tmp_path):
        path = write_video(tmp_path / "clip.mp4", movflags="faststart")
        position, _ = film_packets(path)[24]
        path.write_bytes(path.read_bytes()[:position])
        assert error_of(path) == f"'{path}' is truncated or damaged: 0.96 seconds found of 1.92"

    def test_segment_of_unknown_size(self, tmp_path):
        path = write_video(tmp_path / "clip.mkv", live="1")
        clip = read_clip(path, 4)
        assert frame_numbers(clip) == [6, 18, 30, 42]

    @pytest.mark.parametrize("kept", [0, 1, 3, 4, 5, 20, 40, 60])
    @pytest.mark.parametrize(
        ("name", "codec"), [("c.mkv", "mpeg4"), ("c.ts", "mpeg2video"), ("c.ogv", "libvpx")]
    )
    def test_almost_nothing_left(self, tmp_path, name, codec, kept):
        path = write_video(tmp_path / name, 8, codec=codec)
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(VideoError):
            read_clip(path, 1)


class TestDamaged:
    @pytest.mark.parametrize("number", [3, 11, 25, 46])
    @pytest.mark.parametrize(
        ("suffix", "codec"),
        [
            *((suffix, codec) for suffix in ("mp4", "mkv", "avi") for codec in ("mpeg4", "ffv1")),
            ("mov", "mpeg2video"),
            ("ts", "mpeg2video"),
            ("flv", "flv"),
        ],
    )
    def test_bytes_of_a_frame(self, tmp_path, suffix, codec, number):
        path = write_noise(tmp_path / f"clip.{suffix}", codec)
        position, size = film_packets(path)[number]
        if suffix == "ts":
            position += TRANSPORT_PACKET + 8
        content = bytearray(path.read_bytes())
        random = np.random.default_rng(number)
        damaged = slice(position + size // 3, position + 2 * size // 3)
        content[damaged] = random.bytes(damaged.stop - damaged.start)
        path.write_bytes(content)
        assert "truncated or damaged" in error_of(path)

    @pytest.mark.parametrize("lost", [1, 3])
    @pytest.mark.parametrize("codec", ["mpeg2video", "libx264", "libx265"])
    def test_packets_of_a_transport_stream_lost(self, tmp_path, codec, lost):
        path = write_noise(tmp_path / "clip.ts", codec)
        content = path.read_bytes()
        position, size = film_packets(path)[24]
        assert size > TRANSPORT_PACKET * (lost + 1)
        start = position + TRANSPORT_PACKET
        path.write_bytes(content[:start] + content[start + lost * TRANSPORT_PACKET :])
        assert error_of(path) == (
            f"'{path}' is truncated or damaged: packets of 1 frames are corrupt or missing"
        )

    def test_end_of_zeros(self, tmp_path):
        # What a download leaves that sets the size of its file first.
        path = write_noise(tmp_path / "clip.mp4", "libx264", movflags="faststart")
        content = path.read_bytes()
        half = len(content) // 2
        path.write_bytes(content[:half] + bytes(len(content) - half))
        assert "truncated or damaged" in error_of(path)

    def test_frames_that_no_thread_may_hide(self, tmp_path):
        # FFmpeg's threads return some frames before their errors are known.
        path = write_noise(tmp_path / "clip.avi", "mpeg4", 16)
        content = path.read_bytes()
        for position, size in film_packets(path):
            damaged = bytearray(content)
            middle = position + size // 2
            damaged[middle : middle + 100] = bytes(100)
            path.write_bytes(damaged)
            assert "truncated or damaged" in error_of(path, 1)
