"""Setuptools' build backend, which asks for torch only where none is installed.

The extension needs torch's headers of any version >= 2.10, and the built library works with every
such version. Where the environment that pip installs into has one, its headers are used, and an
isolated build downloads no second torch of several gigabytes.
"""

import importlib.metadata
import sysconfig

from setuptools.build_meta import *  # noqa: F403
from setuptools.build_meta import build_editable, build_sdist, build_wheel  # noqa: F401

TORCH = "torch>=2.10"


def _torch_requirement() -> list[str]:
    installed = importlib.metadata.distributions(
        name="torch", path=[sysconfig.get_paths()["purelib"]]
    )
    versions = [tuple(map(int, d.version.split(".")[:2])) for d in installed]
    return [] if any(version >= (2, 10) for version in versions) else [TORCH]


def get_requires_for_build_wheel(config_settings: dict | None = None) -> list[str]:
    """Return what a wheel needs beside pyproject.toml's list."""
    return _torch_requirement()


def get_requires_for_build_editable(config_settings: dict | None = None) -> list[str]:
    """Return what an editable install needs beside pyproject.toml's list."""
    return _torch_requirement()
