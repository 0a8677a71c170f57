"""The names of a network's classes."""

from __future__ import annotations

from pathlib import Path

from .errors import CommandError


def read_labels(path: Path, num_classes: int) -> list[str]:
    """Read one class name a line.

    Raises:
        CommandError: if the file cannot be read or has not `num_classes` lines.
    """
    try:
        labels = path.read_text(encoding="utf-8").rstrip().splitlines()
    except OSError as error:
        raise CommandError(f"cannot read labels '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"labels '{path}' are not UTF-8 text") from error
    if len(labels) != num_classes:
        raise CommandError(
            f"labels '{path}' name {len(labels)} classes, the network has {num_classes}"
        )
    return labels
