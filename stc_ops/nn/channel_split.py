"""How modules with a spatial and a temporal branch divide channels between them."""

from __future__ import annotations

from fractions import Fraction
from numbers import Rational

# Far above any channel count, so that a float close to a wanted ratio, 0.3 for 3/10, becomes it.
_LARGEST_DENOMINATOR = 10**6


def spatial_channels(module: str, channels: int, alpha: Fraction | float) -> int:
    """Return ``alpha * channels``.

    Raises:
        ValueError: `alpha` is not in [0, 1], or the product is no integer.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"{module}: alpha must be between 0 and 1, got {alpha}")
    exact = alpha if isinstance(alpha, Rational) else float(alpha)
    spatial = int(channels) * Fraction(exact).limit_denominator(_LARGEST_DENOMINATOR)
    if spatial.denominator != 1:
        raise ValueError(
            f"{module}: alpha must split {channels} channels into two integers, "
            f"got {alpha} and so {float(spatial):g} channels for the spatial branch"
        )
    return int(spatial)


def half_of(module: str, channels: int, alpha: Fraction | float) -> int:
    """Return ``channels / 2``, what both branches read of an equal split.

    Raises:
        ValueError: there is one branch only, or `channels` is odd.
    """
    if alpha in (0, 1):
        raise ValueError(
            f"{module}: equal_split needs alpha strictly between 0 and 1, got alpha={alpha}"
        )
    if channels % 2 != 0:
        raise ValueError(f"{module}: equal_split needs an even number of channels, got {channels}")
    return channels // 2
