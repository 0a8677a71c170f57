"""`stc-ops check`: whether the kernels agree with PyTorch on this machine, and what they take."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from .check_capture import captured_step_differs
from .check_report import Findings, table, write_figure_of, write_json
from .check_rows import agreement, agreement_cases, backends_of, time, time_cases
from .errors import CommandError
from .options import backend_on, positive_number
from .progress import progress_bar

COMMAND = "stc-ops check"
DEFAULT_MINUTES = 10.0
EXIT_DIFFERENT, EXIT_INTERRUPTED = 1, 130
FIGURE, RESULTS = "times.png", "check.json"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "check",
        help="compare every operator with PyTorch on this machine, and time it",
        description="Run every operator on every backend that has kernels for a device, in every "
        "dtype and memory format, forward and backward, and compare with plain PyTorch in float64; "
        "capture a training step in a CUDA graph; then time the operators against plain PyTorch "
        "and torch.compile. The exit code is 0 if all that was compared agrees, and 1 if not. What "
        "is not done when time is up, or when it is interrupted, is counted.",
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where to run the operators (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=positive_number,
        default=DEFAULT_MINUTES,
        metavar="M",
        help="stop after so many (default: %(default)s)",
    )
    parser.add_argument(
        "--no-compile",
        dest="compiles",
        action="store_false",
        help="do not time torch.compile, which takes the most minutes",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"write all rows to {RESULTS} and draw the times to {FIGURE} there",
    )
    parser.set_defaults(command=check)


def check(options: argparse.Namespace) -> int:
    """Compare and time as `options` say, print a table and return the exit code."""
    if backend_on(options.device, COMMAND) == "reference":
        raise CommandError(f"there are no kernels to check for '{options.device}'")
    if options.output is not None:
        _make_folder(options.output)
    findings = Findings.begin(options.device, options.minutes)
    # No convolution of a GPU rounds to TF32: rows say their dtype.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False), findings.interruptible():
        _collect(findings, options.compiles)
    if options.output is not None:
        write_json(findings, options.output / RESULTS)
        write_figure_of(findings, options.output / FIGURE)
    print(table(findings))
    if findings.interrupted:
        return EXIT_INTERRUPTED
    return 0 if findings.all_agree else EXIT_DIFFERENT


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot write to '{folder}': {error.strerror}") from error


def _collect(findings: Findings, compiles: bool) -> None:
    device = findings.device
    backends = backends_of(device)
    compared = [(case, each) for case in agreement_cases(device) for each in backends]
    timed = [(case, each) for case in time_cases(device) for each in backends]
    captures = device == "cuda"
    findings.planned = len(compared) + len(timed) + captures
    with progress_bar("checking") as on_step:
        for done, _ in enumerate(_steps(findings, compared, timed, captures, compiles), start=1):
            findings.done = done
            on_step(done, findings.planned)
            if findings.is_time_up:
                return


def _steps(
    findings: Findings, compared: list, timed: list, captures: bool, compiles: bool
) -> Iterator[None]:
    for case, backend in compared:
        findings.agreements.append(agreement(case, findings.device, backend))
        yield
    if captures:
        findings.captured = captured_step_differs() or "agrees"
        yield
    for case, backend in timed:
        findings.times.append(time(case, findings.device, backend, compiles))
        yield
