"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import CommandError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield an empty file beside `path` that takes its place when the block succeeds.

    If the block raises, the file is removed and `path` stays what it was.

    Raises:
        CommandError: at once if nothing can be written there.
    """
    target = Path(os.path.realpath(path))
    # Not by tempfile, whose files only their owner may read.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with _errors_about(path):
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            unfinished.touch()
        yield unfinished
        with _errors_about(path):
            unfinished.replace(target)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


@contextlib.contextmanager
def _errors_about(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandError(f"cannot write '{path}': {error.strerror}") from error
