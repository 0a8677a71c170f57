"""`stc-ops bench`: times and memory of the networks, with the operators and without."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path

from stc_ops.models import NETWORKS

from .bench_models import MODES, measure
from .bench_networks import DTYPES, Setting
from .bench_report import Machine, table, write_csv
from .errors import CommandError
from .figure_file import figure_file, write_figure
from .options import backend_on, positive_integer
from .output_file import whole_file
from .progress import progress_bar

COMMAND = "stc-ops bench models"
DEFAULTS = Setting()
DEFAULT_ROUNDS = 11


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "bench",
        help="measure the networks, with the operators and with the reference",
        description="Measure time and memory on this machine.",
    )
    subjects = parser.add_subparsers(title="subjects", metavar="SUBJECT", required=True)
    _add_models(subjects)


def _add_models(subjects: argparse._SubParsersAction) -> None:
    parser = subjects.add_parser(
        "models",
        help="whole networks",
        description="Time evaluation (a forward) and training (forward, cross-entropy, backward) "
        "of whole networks in channels_last, by the fused operators, by the reference layer by "
        "layer and, in evaluation, optimized for inference; and measure their memory. All variants "
        "of a network are timed in turns, and TSN beside them, after their results are compared.",
    )
    parser.add_argument(
        "networks",
        nargs="*",
        type=_network_name,
        metavar="NETWORK",
        help=f"one of {', '.join(NETWORKS)} (default: all of them)",
    )
    for option, metavar, subject in (
        ("num-segments", "T", "frames of a clip"),
        ("clips", "N", "clips of a batch"),
        ("size", "PIXELS", "height and width of the frames"),
    ):
        parser.add_argument(
            f"--{option}",
            type=positive_integer,
            default=getattr(DEFAULTS, option.replace("-", "_")),
            metavar=metavar,
            help=f"{subject} (default: %(default)s)",
        )
    parser.add_argument(
        "--dtype",
        choices=tuple(DTYPES),
        default=DEFAULTS.dtype,
        help="of parameters and frames (default: %(default)s)",
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default=DEFAULTS.device,
        help="where to run the networks (default: %(default)s)",
    )
    parser.add_argument(
        "--mode",
        choices=(*MODES, "both"),
        default="both",
        help="what to measure (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=positive_integer,
        default=DEFAULT_ROUNDS,
        metavar="R",
        help="how often each variant is timed (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write all values as CSV")
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw times and saved bytes; any format of matplotlib",
    )
    parser.set_defaults(command=bench_models)


def bench_models(options: argparse.Namespace) -> None:
    """Measure the networks as `options` say and print a table."""
    backend = backend_on(options.device, COMMAND)
    if backend == "reference":
        raise CommandError(
            f"nothing to compare: the operators take the reference backend on '{options.device}'"
        )
    _check_files(options.output, options.plot)
    setting = Setting(**{field: getattr(options, field) for field in Setting._fields})
    modes = MODES if options.mode == "both" else (options.mode,)
    machine = Machine.of(options.device, backend)
    with (
        whole_file(options.output) if options.output else contextlib.nullcontext() as csv_file,
        figure_file(options.plot, "--plot") as plot_file,
    ):
        with progress_bar("measuring") as on_step:
            names = tuple(dict.fromkeys(options.networks)) or tuple(NETWORKS)
            rows = measure(names, setting, modes, options.rounds, on_step)
        if csv_file is not None:
            write_csv(rows, machine, csv_file)
        if plot_file is not None:
            from .bench_figure import draw_rows

            write_figure(draw_rows(rows, machine), plot_file, options.plot)
    print(table(rows, machine, options.rounds))


def _check_files(output: Path | None, plot: Path | None) -> None:
    if output and plot and os.path.realpath(output) == os.path.realpath(plot):
        raise CommandError(f"--output and --plot are the same file, '{output}'")


def _network_name(text: str) -> str:
    if text not in NETWORKS:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(NETWORKS)}, got '{text}'")
    return text
