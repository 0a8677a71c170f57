"""`stc-ops tables`: the paper's tables, computed."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from stc_ops.paper.computed import ComputedTable, computed_tables

from .output_file import whole_file
from .progress import progress_bar
from .table_formats import comma_separated, markdown

MARKDOWN = "tables.md"
TABLES = (1, 2, 4)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "tables",
        help="compute the paper's tables of parameters and FLOPs",
        description="Count the parameters and FLOPs of the paper's Tables I, II and IV, and set "
        "them beside the paper's, as Markdown. Accuracies are quoted from the paper.",
    )
    names = ", ".join(map(_csv_file, TABLES))
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"write {MARKDOWN}, {names} into this folder instead of to the terminal",
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print the tables, or write them into a folder."""
    if options.output is None:
        print(markdown(_computed()))
        return
    names = [MARKDOWN, *map(_csv_file, TABLES)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(whole_file(options.output / name)) for name in names]
        tables = _computed()
        texts = [markdown(tables) + "\n", *map(comma_separated, tables)]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text, encoding="utf-8")
    for name in names:
        print(options.output / name)


def _computed() -> list[ComputedTable]:
    with progress_bar("counting") as on_row:
        return computed_tables(on_row)


def _csv_file(number: int) -> str:
    return f"table-{number}.csv"
