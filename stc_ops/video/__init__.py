"""Reading a video as the network wants it: frames sampled, resized, cropped and normalized.

Decoding needs PyAV, which is imported only when a video is read: `pip install 'stc_ops[video]'`.
"""

from .errors import VideoError
from .reading import Clip, read_clip
from .sample_clip import sample_clip_path
from .sampling import middle_frame_indices
from .transforms import IMAGENET_MEAN, IMAGENET_STD, center_crop, normalize, resize_short_side

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Clip",
    "VideoError",
    "center_crop",
    "middle_frame_indices",
    "normalize",
    "read_clip",
    "resize_short_side",
    "sample_clip_path",
]
