"""Drives CMake, which alone knows the sources and flags of stc_ops._C."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def torch_directory() -> Path:
    """Find the torch package whose headers the build uses, which need not be importable here.

    An isolated build hides the packages of the environment it installs into, but the headers that
    lie there serve as well as freshly downloaded ones.
    """
    if (spec := importlib.util.find_spec("torch")) is not None:
        return Path(spec.submodule_search_locations[0])
    return Path(sysconfig.get_paths()["purelib"]) / "torch"


class CMakeBuild(build_ext):
    """Configures and builds the extension with CMake and Ninja."""

    def build_extension(self, ext: Extension) -> None:
        """Build `ext` into the place where setuptools expects it."""
        import pybind11

        output = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_LIBRARY_OUTPUT_DIRECTORY": output,
            "Python_EXECUTABLE": sys.executable,
            "pybind11_DIR": pybind11.get_cmake_dir(),
            "STC_PYTHON": "ON",
            "STC_TORCH_DIR": torch_directory(),
        }
        definitions = [f"-D{name}={value}" for name, value in options.items()]
        arguments = os.environ.get("CMAKE_ARGS", "").split()
        subprocess.check_call(
            ["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", *definitions, *arguments]
        )
        subprocess.check_call(["cmake", "--build", build])


setup(ext_modules=[Extension("stc_ops._C", [])], cmdclass={"build_ext": CMakeBuild})
