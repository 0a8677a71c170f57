"""What the options of several commands have in common."""

from __future__ import annotations

import argparse

import torch

from stc_ops.backends import select_backend

from .errors import CommandError


def positive_integer(text: str) -> int:
    """Convert an argument for `argparse`."""
    try:
        number = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be an integer, got '{text}'") from error
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def positive_number(text: str) -> float:
    """Convert an argument for `argparse`."""
    try:
        number = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number, got '{text}'") from error
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be positive and finite, got {text}")
    return number


def backend_on(device: str, command: str) -> str:
    """Return the backend that a command's operators take on a device.

    Raises:
        CommandError: if this machine has no such device, or a forced backend cannot run there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise CommandError("--device cuda: this machine has no CUDA device")
    try:
        return select_backend(command, torch.device(device))
    except RuntimeError as error:
        raise CommandError(str(error)) from error
