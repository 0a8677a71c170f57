"""`stc-ops config`: what this installation was built with and what it can run."""

from __future__ import annotations

import argparse

import stc_ops


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add this command to the command line."""
    parser = subparsers.add_parser(
        "config",
        help="show versions, backends and devices",
        description="Show versions, backends and devices, as needed in a bug report.",
    )
    parser.set_defaults(command=show)


def show(options: argparse.Namespace) -> None:
    """Do what `stc_ops.show_config()` does."""
    stc_ops.show_config()
