"""Frames as players show them: upright, with square pixels, in RGB."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from .errors import VideoError

if TYPE_CHECKING:
    from av import VideoFrame

# Films have pixels of up to 2:1; what is far beyond is a damaged header.
LARGEST_PIXEL_ASPECT = 16


@dataclass(frozen=True)
class Orientation:
    """How a decoded frame is brought upright: transposed, then flipped, then turned."""

    transposed: bool = False
    flipped_axes: tuple[int, ...] = ()
    """Of the transposed frame (H, W, 3)."""
    degrees: int = 0
    """Clockwise, about the centre; what leaves the frame is lost, and what is empty is black."""

    @classmethod
    def of_display_matrix(cls, matrix: tuple[int, ...] | None) -> Orientation:
        """Return what the program ffmpeg does for a display matrix.

        The angle is rounded to degrees. A multiple of 90 may come with a flip, another one may
        not, and one of a degree and a matrix that maps an axis to zero are ignored.
        """
        if matrix is None:
            return cls()
        a, b, _, c, d = matrix[:5]
        horizontal, vertical = math.hypot(a, c), math.hypot(b, d)
        if not horizontal or not vertical:
            return cls()
        degrees = round(math.degrees(math.atan2(b / vertical, a / horizontal))) % 360
        if degrees == 0:
            return cls(False, (0,) if d < 0 else ())
        if degrees == 90:
            return cls(True, () if c > 0 else (1,))
        if degrees == 180:
            return cls(False, (0, 1) if d < 0 else (1,))
        if degrees == 270:
            return cls(True, (0, 1) if c < 0 else (0,))
        return cls() if degrees == 1 else cls(degrees=degrees)

    def apply(self, picture: torch.Tensor) -> torch.Tensor:
        """Bring a picture (H, W, 3) upright."""
        if self.transposed:
            picture = picture.transpose(0, 1)
        picture = picture.flip(self.flipped_axes)
        return _turn(picture, self.degrees) if self.degrees else picture


class Projector:
    """Turns the decoded frames of one film into pictures of one size, that of the first."""

    def __init__(self, file: str, pixel_aspect: Fraction | None) -> None:
        """Take the name of the film, for messages, and the width of its pixels by their height.

        Raises:
            VideoError: if the pixels are too far from square to be true.
        """
        self.file = file
        self.pixel_aspect = pixel_aspect or Fraction(1)
        if not 1 <= LARGEST_PIXEL_ASPECT * self.pixel_aspect <= LARGEST_PIXEL_ASPECT**2:
            raise VideoError(
                f"cannot show '{file}': its pixels are said to be "
                f"{self.pixel_aspect.numerator} wide and {self.pixel_aspect.denominator} high"
            )
        self.size: tuple[int, int] | None = None

    def show(self, frame: VideoFrame) -> torch.Tensor:
        """Return the frame as uint8, (3, H, W), RGB.

        Raises:
            VideoError: if PyAV cannot tell how to bring it upright.
        """
        orientation = Orientation.of_display_matrix(_display_matrix(frame, self.file))
        if self.size is None:
            height, width = self._square_pixels(frame.height, frame.width)
            self.size = (width, height) if orientation.transposed else (height, width)
        height, width = reversed(self.size) if orientation.transposed else self.size
        rgb = torch.from_numpy(frame.to_ndarray(format="rgb24", width=width, height=height))
        return orientation.apply(rgb).permute(2, 0, 1).contiguous()

    def _square_pixels(self, height: int, width: int) -> tuple[int, int]:
        # Enlarged, so that no pixel is lost.
        if self.pixel_aspect > 1:
            return height, round(width * self.pixel_aspect)
        return round(height / self.pixel_aspect), width


def _display_matrix(frame: VideoFrame, file: str) -> tuple[int, ...] | None:
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError as error:
        # PyAV 17 and 18 read no side data at all where FFmpeg knows of a kind that they do not.
        if frame.rotation:
            raise VideoError(
                f"cannot bring '{file}' upright: this version of PyAV cannot read its orientation"
            ) from error
        return None
    return None if data is None else struct.unpack("=9i", bytes(data))


def _turn(picture: torch.Tensor, degrees: int) -> torch.Tensor:
    """Turn a picture (H, W, 3) of uint8 clockwise about its centre, by bilinear interpolation."""
    height, width = picture.shape[:2]
    y = torch.arange(height).sub((height - 1) / 2)[:, None]
    x = torch.arange(width).sub((width - 1) / 2)[None]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    source = [
        (x * cosine + y * sine) * 2 / max(width - 1, 1),
        (y * cosine - x * sine) * 2 / max(height - 1, 1),
    ]
    planes = picture.permute(2, 0, 1)[None].float()
    turned = F.grid_sample(planes, torch.stack(source, -1)[None], align_corners=True)
    return turned[0].permute(1, 2, 0).round().to(torch.uint8)
