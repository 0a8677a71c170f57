"""Files of figures, about which is found out at once whether they can be drawn and written."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CommandError
from .output_file import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextlib.contextmanager
def figure_file(path: Path | None, option: str) -> Iterator[Path | None]:
    """Yield an empty file beside `path` that takes its place when the block succeeds.

    Without a path, None. The option of the command line that asks for the figure is for messages.

    Raises:
        CommandError: at once if matplotlib is missing, does not know the format that `path` ends
            in, or nothing can be written there.
    """
    if path is None:
        yield None
        return
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise CommandError(f"{option} needs matplotlib: pip install 'stc_ops[plot]'") from error
    from .figure import figure_formats

    if path.suffix[1:].lower() not in figure_formats():
        raise CommandError(
            f"cannot write '{path}': its name must end in one of {', '.join(figure_formats())}"
        )
    with whole_file(path) as unfinished:
        yield unfinished


def write_figure(figure: Figure, unfinished: Path, path: Path) -> None:
    """Write a figure into the file that `figure_file` gave for `path`, in the format of `path`.

    Raises:
        CommandError: if it cannot be written.
    """
    from .figure import save_figure

    try:
        save_figure(figure, unfinished, path.suffix[1:].lower())
    except OSError as error:
        raise CommandError(f"cannot write '{path}': {error}") from error
