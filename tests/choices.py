"""What differs between tests, and never between two runs of one."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import TypeVar

Choice = TypeVar("Choice")


def choice_of_this_test(choices: Sequence[Choice]) -> Choice:
    """Return one of `choices`: always the same for a test, others for others."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rsplit(" ", 1)[0]  # without its stage
    return choices[zlib.crc32(test.encode()) % len(choices)]
