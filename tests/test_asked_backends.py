"""Runs of pytest in which nothing ran are no success; `asked_backends.py` sees to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from backend_cases import EMULATED_LIBRARY_VARIABLE

TEST = "test_shift_moves_nothing_between_clips"
# arguments of pytest: its exit status, and what it says
RUNS = {
    "a-missing-backend": (
        ["--backend", "emulated_cuda"],
        pytest.ExitCode.USAGE_ERROR,
        "--backend emulated_cuda: build it with cmake",
    ),
    "a-missing-backend-by-name": (
        ["-k", "emulated_cuda or reference"],
        pytest.ExitCode.NO_TESTS_COLLECTED,
        "backend emulated_cuda was asked for, and all of its tests are skipped",
    ),
    "nothing-but-skips": (
        ["-m", "gpu"],
        pytest.ExitCode.NO_TESTS_COLLECTED,
        "every test that was selected is skipped: nothing was tested",
    ),
    "a-backend": (["--backend", "cpu"], pytest.ExitCode.OK, "1 passed, 4 deselected"),
    "some-skips": ([], pytest.ExitCode.OK, "2 passed, 3 skipped"),
}


@pytest.mark.parametrize(("arguments", "status", "message"), RUNS.values(), ids=RUNS.keys())
def test_exit_status(arguments, status, message, tmp_path):
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in (EMULATED_LIBRARY_VARIABLE, "TRITON_INTERPRET", "PYTEST_ADDOPTS")
    } | {"CUDA_VISIBLE_DEVICES": ""}
    file = Path(__file__).with_name("test_families.py")
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*pytest_command, f"{file}::{TEST}", *arguments],
        cwd=tmp_path,  # not where the sources are, which are imported from there
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == status
    assert message in run.stdout + run.stderr
