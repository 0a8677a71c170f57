"""Whole films of many kinds: times that do not begin at 0, several streams, hidden frames."""

from fractions import Fraction

import numpy as np
import pytest
from films import (
    add_stream,
    av,
    error_of,
    frame_numbers,
    grey_packets,
    write_video,
)
from interlaced_film import interlaced_film

from stc_ops.video import read_clip

ATTACHED = av.stream.Disposition.attached_pic.value
DEFAULT = av.stream.Disposition.default.value
OPEN_GROUPS = "open-gop=1:b-adapt=0:bframes=3:keyint=10:min-keyint=10:scenecut=0"


def mux(container, *streams):
    """Write 48 frames of each stream in turn, and of attached pictures one."""
    packets = [
        packet
        for stream in streams
        for packet in grey_packets(stream, 1 if stream.disposition.value & ATTACHED else 48)
    ]
    for packet in packets:
        container.mux(packet)


def write_song(path, audio, picture):
    """Write a second of silence, and a cover if `picture` is given."""
    # The muxer that the suffix m4a stands for takes no picture.
    with av.open(str(path), "w", format="mp4" if path.suffix == ".m4a" else None) as container:
        sound = container.add_stream(audio, rate=44100)
        cover = add_stream(container, picture) if picture else None
        if cover is not None:
            cover.disposition = ATTACHED
            mux(container, cover)
        silence = np.zeros((1, 44100), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
        frame.sample_rate = 44100
        resampler = av.AudioResampler(sound.format, sound.layout, sound.rate, sound.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(sound.encode(part))
        container.mux(sound.encode())
    return path


class TestTimes:
    @pytest.mark.parametrize(
        ("name", "codec"),
        [
            ("clip.mkv", "mpeg4"),
            ("clip.webm", "libvpx"),
            ("clip.mp4", "mpeg4"),
            ("clip.mov", "mpeg4"),
            ("clip.avi", "mpeg4"),
            ("clip.flv", "flv"),
            ("clip.ts", "mpeg2video"),
            ("clip.mpg", "mpeg2video"),
            ("clip.nut", "mpeg4"),
            ("clip.wmv", "wmv2"),
            ("clip.ogv", "libvpx"),
        ],
    )
    @pytest.mark.parametrize("offset", [0, 1, 40])
    def test_a_first_time_that_is_not_0(self, tmp_path, name, codec, offset):
        path = write_video(tmp_path / name, codec=codec, output_ts_offset=str(offset))
        clip = read_clip(path, 6)
        assert clip.frame_count == 48
        assert frame_numbers(clip) == list(clip.indices) == [4, 12, 20, 28, 36, 44]
        start = clip.seconds[0] - 4 / 25
        # Milliseconds in most; a program stream gives a time once in a while.
        error = 1 / 25 if name == "clip.mpg" else 1e-3
        expected = [start + i / 25 for i in clip.indices]
        assert clip.seconds == pytest.approx(expected, abs=1.01 * error)

    def test_a_start_in_the_middle_of_a_group_of_pictures(self, tmp_path):
        path = write_video(tmp_path / "clip.ts", codec="libx264", encoder={"g": "12"})
        content = path.read_bytes()
        packets = [content[start : start + 188] for start in range(0, len(content), 188)]
        with av.open(str(path)) as container:
            fifth = [packet.pos for packet in container.demux(video=0) if packet.size][4]
        # The first three are tables.
        path.write_bytes(b"".join(packets[:3] + packets[fifth // 188 :]))
        clip = read_clip(path, 4)
        assert clip.frame_count == 36
        assert frame_numbers(clip) == [12 + index for index in clip.indices]

    @pytest.mark.parametrize("suffix", ["ts", "mp4", "mkv"])
    @pytest.mark.parametrize("codec", ["libx264", "libx265"])
    def test_open_groups_of_pictures(self, tmp_path, codec, suffix):
        options = {f"{codec[3:]}-params": f"{OPEN_GROUPS}:log-level=none"}
        path = write_video(tmp_path / f"clip.{suffix}", codec=codec, encoder=options)
        clip = read_clip(path, 6)
        assert frame_numbers(clip) == list(clip.indices) == [4, 12, 20, 28, 36, 44]

    @pytest.mark.parametrize("suffix", ["h264", "ts", "mkv"])
    def test_fields_in_packets_of_their_own(self, tmp_path, suffix):
        path = tmp_path / "clip.h264"
        path.write_bytes(interlaced_film(24))
        if suffix != "h264":
            with av.open(str(path)) as source, av.open(str(tmp_path / f"clip.{suffix}"), "w") as to:
                stream = to.add_stream_from_template(source.streams.video[0])
                for number, packet in enumerate(source.demux(video=0)):
                    if packet.size:
                        packet.stream, packet.pts, packet.dts = stream, number, number
                        packet.time_base, packet.duration = Fraction(1, 50), 1
                        to.mux(packet)
            path = tmp_path / f"clip.{suffix}"
        clip = read_clip(path, 4)
        assert clip.frame_count == 24
        brightness = clip.frames.float().mean((1, 2, 3))
        assert clip.indices == (3, 9, 15, 21)
        # Luminance from 16 to 235 is brightness from 0 to 255.
        assert brightness.tolist() == pytest.approx(
            [5 * i * 255 / 219 for i in clip.indices], abs=1
        )


class TestStreams:
    @pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
    @pytest.mark.parametrize("larger", [0, 1])
    def test_the_larger_one(self, tmp_path, suffix, larger):
        sizes = [(64, 48), (64, 48)]
        sizes[larger] = (128, 96)
        path = tmp_path / f"clip.{suffix}"
        with av.open(str(path), "w") as container:
            streams = [add_stream(container, "mpeg2video", size) for size in sizes]
            for stream in streams:
                stream.disposition = DEFAULT
            mux(container, *streams)
        assert read_clip(path, 4).frames.shape == (4, 3, 96, 128)

    @pytest.mark.parametrize("default", [0, 1])
    def test_the_default_one(self, tmp_path, default):
        path = tmp_path / "clip.mkv"
        with av.open(str(path), "w", options={"default_mode": "passthrough"}) as container:
            streams = [add_stream(container, size=size) for size in ((64, 48), (128, 96))]
            streams[default].disposition = DEFAULT
            mux(container, *streams)
        height = (48, 96)[default]
        assert read_clip(path, 4).frames.shape == (4, 3, height, height * 4 // 3)

    def test_a_large_thumbnail_before_the_film(self, tmp_path):
        path = tmp_path / "clip.mkv"
        with av.open(str(path), "w", options={"default_mode": "passthrough"}) as container:
            thumbnail, film = add_stream(container, "mjpeg", (256, 192)), add_stream(container)
            film.disposition = DEFAULT
            for packet in [*grey_packets(thumbnail, 1), *grey_packets(film, 48)]:
                container.mux(packet)
        assert frame_numbers(read_clip(path, 4)) == [6, 18, 30, 42]

    def test_a_cover_beside_the_film(self, tmp_path):
        path = tmp_path / "clip.mp4"
        with av.open(str(path), "w") as container:
            cover, film = add_stream(container, "mjpeg", (256, 192)), add_stream(container)
            cover.disposition = ATTACHED
            mux(container, cover, film)
        with av.open(str(path)) as container:
            assert any(stream.disposition.value & ATTACHED for stream in container.streams.video)
        assert frame_numbers(read_clip(path, 4)) == [6, 18, 30, 42]

    @pytest.mark.parametrize(
        ("name", "audio"), [("song.m4a", "aac"), ("song.mp3", "libmp3lame"), ("song.flac", "flac")]
    )
    def test_a_song_with_a_cover_is_no_video(self, tmp_path, name, audio):
        path = write_song(tmp_path / name, audio, "mjpeg")
        with av.open(str(path)) as container:
            assert len(container.streams.video) == 1
        assert error_of(path, 1) == f"'{path}' has no video stream, only a cover picture"

    def test_a_song(self, tmp_path):
        path = write_song(tmp_path / "song.m4a", "aac", None)
        assert error_of(path, 1) == f"'{path}' has no video stream that can be decoded"
