"""Drives CMake, which alone knows the sources and flags of stc_ops._C and of the CUDA library."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

from build_backend import MINIMUM_TORCH, torch_directory

ROOT = Path(__file__).resolve().parent
CUDA_LIBRARY = "_cuda.so"
CUDA_VARIABLE = "STC_OPS_BUILD_CUDA"
# What CMake's STC_BUILD_CUDA is for each value of the variable.
CUDA_CHOICES = {"1": "ON", "0": "OFF", "": "AUTO"}


def cuda_choice() -> str:
    """Return whether CUDA kernels are built, as CMake has it."""
    value = os.environ.get(CUDA_VARIABLE, "")
    if value not in CUDA_CHOICES:
        raise SystemExit(f"{CUDA_VARIABLE} must be 0, 1 or not set, got {value!r}")
    return CUDA_CHOICES[value]


class CMakeBuild(build_ext):
    """Configures and builds the extension with CMake and Ninja."""

    def build_extension(self, ext: Extension) -> None:
        """Build `ext` into the place where setuptools expects it."""
        import pybind11

        torch = torch_directory()
        if torch is None:
            raise SystemExit("stc_ops needs torch >= {}.{} to build".format(*MINIMUM_TORCH))
        build = Path(self.build_temp).resolve()
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_LIBRARY_OUTPUT_DIRECTORY": Path(
                self.get_ext_fullpath(ext.name)
            ).parent.resolve(),
            "Python_EXECUTABLE": sys.executable,
            "pybind11_DIR": pybind11.get_cmake_dir(),
            "STC_BUILD_CUDA": cuda_choice(),
            "STC_PYTHON": "ON",
            "STC_TORCH_DIR": torch,
        }
        definitions = [f"-D{name}={value}" for name, value in options.items()]
        arguments = shlex.split(os.environ.get("CMAKE_ARGS", ""))
        # An earlier build's cache names tools of an isolated environment that is gone.
        shutil.rmtree(build, ignore_errors=True)
        subprocess.check_call(
            ["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", *definitions, *arguments]
        )
        subprocess.check_call(["cmake", "--build", build])

    def copy_extensions_to_source(self) -> None:
        """Copy what was built beside the sources, for an editable installation."""
        super().copy_extensions_to_source()
        library = Path(self.build_lib, "stc_ops", CUDA_LIBRARY)
        if library.exists():
            self.copy_file(library, ROOT / "stc_ops" / CUDA_LIBRARY)


setup(ext_modules=[Extension("stc_ops._C", [])], cmdclass={"build_ext": CMakeBuild})
