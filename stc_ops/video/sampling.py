"""Which frames of a video a network sees."""

from __future__ import annotations


def middle_frame_indices(frame_count: int, num_segments: int) -> list[int]:
    """Return the middle frame of each of `num_segments` equal groups: TSN's 1-clip inference.

    Segment x takes floor((x + 1/2) * frame_count / num_segments), computed in integers.

    Raises:
        ValueError: if a segment would be empty.
    """
    if not 1 <= num_segments <= frame_count:
        raise ValueError(
            f"middle_frame_indices: num_segments must be from 1 to frame_count, "
            f"got num_segments={num_segments}, frame_count={frame_count}"
        )
    return [
        (2 * segment + 1) * frame_count // (2 * num_segments) for segment in range(num_segments)
    ]
