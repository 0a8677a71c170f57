"""Weights in a file: the state_dict in what people save, without running code from the file."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping

import torch

from stc_ops.listing import first_few

from .errors import CommandError

# Where training scripts keep the state_dict of the network beside that of the optimizer.
STATE_DICT_NAMES = ("state_dict", "model_state_dict", "model_state", "model", "module", "net")
# Modules that wrap a network, by the names that they give it: DataParallel and DDP, torch.compile,
# FSDP and activation checkpointing.
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
DEEPEST_NESTING = 3


def load_weights(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Load the `state_dict` in a file that `torch.save` wrote.

    It may be an entry of a dictionary, named as one of `STATE_DICT_NAMES`, and the names in it may
    have the prefixes of modules that wrap a network (`WRAPPERS`).

    Raises:
        CommandError: if the file cannot be read or holds something else.
    """
    weights = _state_dict(_load(path), path)
    for name, value in weights.items():
        if value.layout != torch.strided or value.is_nested or value.is_meta:
            raise CommandError(
                f"weights '{path}' must hold strided tensors with values, got {_kind(value)} "
                f"for '{name}'"
            )
    return _without_wrappers(weights)


def _load(path: str | os.PathLike[str]) -> object:
    try:
        with warnings.catch_warnings():
            # They are about files that are refused here.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CommandError(f"cannot read weights '{path}': {error.strerror or error}") from error
    except Exception as error:
        # Arbitrary bytes make the unpickler raise arbitrary exceptions.
        raise CommandError(f"weights '{path}' {_refusal(str(error))}") from error


def _refusal(message: str) -> str:
    """Say what is wrong with a file for which `torch.load` gives this message."""
    if "TorchScript" in message:
        return "are a TorchScript archive: save the network's state_dict() with torch.save instead"
    found = re.search(r"GLOBAL (\S+) was not an allowed global", message)
    if found is None:
        return "are not a state_dict saved by torch.save"
    what = "a NumPy value" if found[1].startswith("numpy.") else "an object"
    return (
        f"hold {what} ({found[1]}), and such are not loaded, since they may run code: "
        "save the network's state_dict() alone"
    )


def _state_dict(content: object, path: str | os.PathLike[str]) -> Mapping[str, torch.Tensor]:
    for _ in range(DEEPEST_NESTING):
        if not isinstance(content, Mapping):
            break
        names = [name for name in STATE_DICT_NAMES if isinstance(content.get(name), Mapping)]
        if not names:
            break
        if len(names) > 1:
            raise CommandError(
                f"weights '{path}' hold several networks ({first_few(map(repr, names))}): "
                "save the state_dict() of one"
            )
        content = content[names[0]]
    if not isinstance(content, Mapping):
        raise CommandError(
            f"weights '{path}' are not a state_dict of tensors by name, "
            f"got {type(content).__name__}"
        )
    others = [
        repr(name)
        for name, value in content.items()
        if not isinstance(name, str) or not isinstance(value, torch.Tensor)
    ]
    if others:
        raise CommandError(
            f"weights '{path}' are not a state_dict of tensors by name, "
            f"nor one in an entry 'state_dict' or 'model': got {first_few(others)}"
        )
    return content


def _without_wrappers(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    unwrapped = {
        ".".join(part for part in name.split(".") if part not in WRAPPERS): value
        for name, value in weights.items()
    }
    return unwrapped if len(unwrapped) == len(weights) else dict(weights)


def _kind(value: torch.Tensor) -> str:
    if value.is_meta:
        return "a meta tensor"
    return "a nested tensor" if value.is_nested else str(value.layout).removeprefix("torch.")
