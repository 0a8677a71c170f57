"""Setuptools' build backend, which asks for torch only where none is installed.

The extension needs torch's headers of a version >= 2.10, and the built library works with other
such versions too. Where the environment that pip installs into has one, its headers are used, and
an isolated build, which hides that environment, downloads no second torch of several gigabytes.
"""

from __future__ import annotations

import importlib.metadata
import re
import sysconfig
from pathlib import Path

from setuptools.build_meta import *  # noqa: F403

MINIMUM_TORCH = (2, 10)


def torch_directory() -> Path | None:
    """Return the folder of a torch that is new enough: importable here, or installed beside pip."""
    for path in ({}, {"path": [sysconfig.get_paths()["platlib"]]}):
        for torch in importlib.metadata.distributions(name="torch", **path):
            version = re.match(r"(\d+)\.(\d+)", torch.version)
            if version and tuple(map(int, version.groups())) >= MINIMUM_TORCH:
                return Path(torch.locate_file("torch"))
    return None


def get_requires_for_build_wheel(config_settings: dict | None = None) -> list[str]:
    """Return what a wheel needs beside the list in pyproject.toml."""
    return [] if torch_directory() else ["torch>={}.{}".format(*MINIMUM_TORCH)]


get_requires_for_build_editable = get_requires_for_build_wheel
