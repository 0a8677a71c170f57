"""The one exception of this package."""


class VideoError(Exception):
    """A video cannot be read or sampled; the message says which one and why, in one line."""
