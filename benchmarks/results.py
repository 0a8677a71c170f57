"""The rows of benchmark runs, read from the JSON files that pytest-benchmark writes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stc_ops.cli.errors import CommandError

FAMILIES = ("fused", "primitive")
ON_GPU = "-on-cuda"


class Key(NamedTuple):
    """What a row measures."""

    family: str
    dtype: str
    memory_format: str
    clips: int
    num_segments: int
    backend: str
    operator: str
    mode: str
    channels: int
    height: int

    @property
    def stage(self) -> tuple[int, int]:
        return self.channels, self.height


Row = Mapping[str, float]
Rows = Mapping[Key, Row]


class Results(NamedTuple):
    """Rows of one or several runs, each value the median of the runs that have it.

    Attributes:
        machine: where and with what they were measured, one line.
        runs: how many have the row that most of them have; one may be spread over several files.
        rows: "seconds" and whatever ratios a row has, by what it measures.
    """

    machine: str
    runs: int
    rows: Rows

    def of(self, *families: str) -> Rows:
        return {key: row for key, row in self.rows.items() if key.family in families}


def read_results(paths: Sequence[Path]) -> Results:
    """Read a file of each run, or of a part of a run.

    Raises:
        CommandError: a file cannot be read, is no such JSON or has no row of these benchmarks, or
            the runs are of different machines.
    """
    machines: dict[str, Path] = {}
    values: dict[Key, dict[str, list[float]]] = {}
    for path in paths:
        machine, rows = _read(path)
        machines.setdefault(machine, path)
        for key, row in rows:
            of_key = values.setdefault(key, {})
            for name, value in row.items():
                of_key.setdefault(name, []).append(value)
    if len(machines) > 1:
        differing = "; ".join(f"'{path}': {machine}" for machine, path in machines.items())
        raise CommandError(f"runs of different machines cannot go into one report: {differing}")
    rows = {
        key: {name: statistics.median(of_runs) for name, of_runs in row.items()}
        for key, row in values.items()
    }
    runs = max(len(row["seconds"]) for row in values.values())
    return Results(next(iter(machines)), runs, rows)


def grouped(rows: Rows, by: Callable[[Key], Hashable]) -> dict[Hashable, dict[Key, Row]]:
    """Return `rows` by what `by` says, all in the order in which they come."""
    groups: dict[Hashable, dict[Key, Row]] = {}
    for key, row in rows.items():
        groups.setdefault(by(key), {})[key] = row
    return groups


def operator_groups(results: Results) -> list[Rows]:
    """Return the rows of operators, a group a setting, what matters most first."""
    groups = grouped(results.of(*FAMILIES), lambda key: key[: Key._fields.index("operator")])
    return sorted(groups.values(), key=lambda group: _importance(next(iter(group))))


def stages_of(rows: Rows) -> list[tuple[int, int]]:
    return sorted({key.stage for key in rows})


def _importance(key: Key) -> tuple[int | bool, ...]:
    return (
        FAMILIES.index(key.family),
        key.dtype != "float32",
        key.memory_format != "nhwc",
        -key.clips,
        -key.num_segments,
    )


def _read(path: Path) -> tuple[str, list[tuple[Key, dict[str, float]]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"cannot read '{path}': {error.strerror}") from error
    except ValueError as error:
        raise CommandError(f"'{path}' is not JSON; is the run that writes it complete?") from error
    try:
        rows = list(_rows(content["benchmarks"]))
        machine = _machine(content["machine_info"])
    except (KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"'{path}' is not what pytest --benchmark-json writes") from error
    if not rows:
        raise CommandError(
            f"'{path}' has no rows of these benchmarks: "
            f"pytest benchmarks --benchmark-only --benchmark-json={path}"
        )
    return machine, rows


def _rows(benchmarks: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Key, dict[str, float]]]:
    for benchmark in benchmarks:
        info = benchmark["extra_info"]
        if not set(Key._fields) <= info.keys():
            continue
        row = {
            name: value
            for name, value in info.items()
            if name not in Key._fields and isinstance(value, (int, float))
        }
        yield (
            Key(**{field: info[field] for field in Key._fields}),
            {"seconds": benchmark["stats"]["median"], **row},
        )


def _machine(info: Mapping[str, Any]) -> str:
    processor = info["cpu"].get("brand_raw", info["machine"])
    settings = [info["cpu_capability"], f"{info['threads']} threads", f"torch {info['torch']}"]
    if "gpu" in info:
        settings.append(f"{info['gpu']} (driver {info['driver']}, CUDA {info['cuda']}, no TF32)")
    if (allocator := info.get("allocator", "default")) != "default":
        is_tunables = allocator.startswith("glibc.")
        settings.append(f"`GLIBC_TUNABLES={allocator}`" if is_tunables else allocator)
    return ", ".join([processor, *settings])
