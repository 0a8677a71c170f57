"""Lists in messages, short enough to be read."""

from __future__ import annotations

from collections.abc import Iterable

SHOWN = 3


def first_few(items: Iterable[object], separator: str = ", ") -> str:
    """Join the first items and count the rest: ``a, b, c and 7 more``."""
    texts = [str(item) for item in items]
    rest = len(texts) - SHOWN
    return separator.join(texts[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
