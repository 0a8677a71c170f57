"""Options of the benchmarks, and the table of ratios they end with."""

from __future__ import annotations

import pytest
import torch
from devices import gpu_info

from stc_ops import measuring

ALLOCATOR = pytest.StashKey[str]()


def pytest_addoption(parser):
    parser.addoption(
        "--with-compile",
        action="store_true",
        help="also measure torch.compile, of the reference and of eager.py (for seconds per row)",
    )
    parser.addoption(
        "--return-memory",
        action="store_true",
        help="let freed memory go back to the kernel, as glibc does by itself",
    )


def pytest_configure(config):
    returns = config.getoption("--return-memory")
    config.stash[ALLOCATOR] = "default" if returns else measuring.allocator()


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
    machine_info["allocator"] = config.stash[ALLOCATOR]
    machine_info["threads"] = torch.get_num_threads()
    machine_info["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    machine_info.update(gpu_info())


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """Keep what the report reads, so that results can be kept beside it."""
    info = output_json["machine_info"]
    info["cpu"] = {name: info["cpu"][name] for name in ("brand_raw",) if name in info["cpu"]}
    output_json["machine_info"] = {name: info[name] for name in (*MACHINE, *gpu_info())}
    output_json["benchmarks"] = [
        {
            "name": each["name"],
            "extra_info": each["extra_info"],
            "stats": {name: each["stats"][name] for name in ("median", "iqr", "rounds")},
        }
        for each in output_json["benchmarks"]
    ]
    output_json.pop("commit_info", None)


MACHINE = ("machine", "cpu", "python_version", "torch", "allocator", "threads", "cpu_capability")
RATIOS = {
    "of floor": "fraction_of_floor",
    "x eager": "times_eager",
    "x compiled": "times_compiled",
    "x compiled eager": "times_compiled_eager",
    "x saving": "times_saving",
    "x plain": "times_plain",
}


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    rows = [each for each in session.benchmarks if each.extra_info] if session else []
    if not rows:
        return
    terminalreporter.section("ratios of medians, each taken in one run")
    columns = "".join(f" {title:>16}" for title in ("ms", *RATIOS))
    terminalreporter.write_line(f"{'row':<88}{columns}")
    for row in rows:
        values = "".join(
            f" {row.extra_info[ratio]:16.2f}" if ratio in row.extra_info else f" {'-':>16}"
            for ratio in RATIOS.values()
        )
        milliseconds = row.stats.median * 1e3
        name = row.name.removeprefix("test_")
        terminalreporter.write_line(f"{name:<88} {milliseconds:16.3f}{values}")
