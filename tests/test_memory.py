"""keep_freed_memory leaves freed memory with the process."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

import stc_ops

HAS_GLIBC = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")

COUNT_FAULTS = """
import resource, sys
import torch
import stc_ops

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

# 36 MiB: beyond the largest block, 32 MiB, that glibc keeps by itself.
SIZE = 9 * 2**20
kept = "keep" in sys.argv and stc_ops.keep_freed_memory()
# Aligned blocks need a little more than one of their size leaves: some find no room at first.
for _ in range(8):
    torch.ones(SIZE).sum()
before = faults()
for _ in range(32):
    torch.ones(SIZE).sum()
print(kept, faults() - before)
"""


def faults_of_tensors(folder, *arguments):
    command = [sys.executable, "-c", COUNT_FAULTS, *arguments]
    env = {"PATH": "/usr/bin", "THP_MEM_ALLOC_ENABLE": "0"}
    options = {"capture_output": True, "text": True, "check": True}
    # Elsewhere than in the sources, which would be imported.
    run = subprocess.run(command, cwd=folder, env=env, **options)
    kept, faults = run.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(not HAS_GLIBC, reason="glibc is not the C library here")
def test_new_tensors_take_the_memory_of_freed_ones(tmp_path):
    kept, faults = faults_of_tensors(tmp_path, "keep")
    assert kept
    assert faults < faults_of_tensors(tmp_path)[1] / 4


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not stc_ops.keep_freed_memory()


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not stc_ops.keep_freed_memory()
