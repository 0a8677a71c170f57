"""Options of the benchmarks, and the table of ratios they end with."""

from __future__ import annotations

import pytest
import torch


def pytest_addoption(parser):
    parser.addoption(
        "--with-compile",
        action="store_true",
        help="also measure torch.compile of the reference (compiles for seconds per row)",
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--with-compile"):
        return
    reason = "torch.compile of the reference is measured with --with-compile"
    for item in items:
        if item.callspec.params["backend"] == "compiled-reference":
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    rows = [each for each in session.benchmarks if each.extra_info] if session else []
    if not rows:
        return
    terminalreporter.section("ratios of medians, each taken in one run")
    terminalreporter.write_line(f"{'row':<78} {'GB/s':>7} {'of floor':>9} {'x eager':>8}")
    for row in rows:
        info = row.extra_info
        times_eager = f"{info['times_eager']:8.2f}" if "times_eager" in info else f"{'-':>8}"
        terminalreporter.write_line(
            f"{row.name.removeprefix('test_'):<78} {info['gb_per_s']:7.1f} "
            f"{info['fraction_of_floor']:9.2f} {times_eager}"
        )
