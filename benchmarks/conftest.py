"""Options of the benchmarks, and the table of ratios they end with."""

from __future__ import annotations

import os

import pytest
import torch
from devices import gpu_info


def pytest_addoption(parser):
    parser.addoption(
        "--with-compile",
        action="store_true",
        help="also measure torch.compile of the reference (compiles for seconds per row)",
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--with-compile"):
        return
    reason = "torch.compile is measured with --with-compile"
    for item in items:
        # Tests outside of this folder may be collected along.
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if str(parameters.get("backend")).startswith("compiled-"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def with_compile(pytestconfig):
    return pytestconfig.getoption("--with-compile")


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _float32_is_float32():
    """Let no convolution of a GPU round to TF32: rows say their dtype, and results are verified."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["torch"] = torch.__version__
    machine_info["allocator"] = os.environ.get("GLIBC_TUNABLES", "default")
    machine_info["threads"] = torch.get_num_threads()
    machine_info["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    machine_info.update(gpu_info())


RATIOS = {"of floor": "fraction_of_floor", "x eager": "times_eager", "x compiled": "times_compiled"}


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    rows = [each for each in session.benchmarks if each.extra_info] if session else []
    if not rows:
        return
    terminalreporter.section("ratios of medians, each taken in one run")
    columns = "".join(f" {title:>10}" for title in ("ms", *RATIOS))
    terminalreporter.write_line(f"{'row':<88}{columns}")
    for row in rows:
        values = "".join(
            f" {row.extra_info[ratio]:10.2f}" if ratio in row.extra_info else f" {'-':>10}"
            for ratio in RATIOS.values()
        )
        milliseconds = row.stats.median * 1e3
        name = row.name.removeprefix("test_")
        terminalreporter.write_line(f"{name:<88} {milliseconds:10.3f}{values}")
