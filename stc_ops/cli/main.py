"""The entry point: parsing, and the exit code of whatever happens."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from stc_ops.video import VideoError

from . import bench, check, config, plot, run, tables
from .errors import CommandError

COMMANDS = (run, bench, check, tables, plot, config)
PROGRAM = "stc-ops"
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class _OneLineErrorParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_ERROR, _error_line(f"{message} (see {self.prog} --help)"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on `arguments`, by default the process's, and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        exit_code = options.command(options) or 0
        sys.stdout.flush()
    except (CommandError, VideoError) as error:
        sys.stderr.write(_error_line(str(error)))
        return EXIT_ERROR
    except KeyboardInterrupt:
        sys.stderr.write(f"{PROGRAM}: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        _discard_stdout()
        sys.stderr.write(_error_line(str(error)))
        return EXIT_ERROR
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineErrorParser(
        prog=PROGRAM,
        description="Operators for STC, TSM and GST video networks in PyTorch.",
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def _error_line(message: str) -> str:
    return f"{PROGRAM}: error: {' '.join(message.split())}\n"


def _discard_stdout() -> None:
    # Python flushes what is left in the buffer when it exits, and would complain once more.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
