"""A backend that was asked for and cannot run is a failure, not a run of skips."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator

import pytest
from backend_cases import BACKENDS, why_not_here

# The property of a test that names its backend.
PROPERTY = "backend"


def backend_of(item: pytest.Item) -> str | None:
    """Return the value of the fixture `backend` for a test, if it has it."""
    return getattr(item, "callspec", None) and item.callspec.params.get("backend")


def asked_by_name(config: pytest.Config) -> Iterator[str]:
    """Name the backends that the expressions of `-k` and `-m` contain."""
    words = set(re.findall(r"\w+", f"{config.option.keyword} {config.option.markexpr}"))
    return (name for name in BACKENDS if name in words)


class AskedBackends:
    """Restricts the tests to those of `--backend`, and notes which backends ran."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.outcomes: dict[str | None, collections.Counter[str]] = {}
        self.complaints: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if (asked := self.config.option.backend) is None:
            return
        if (reason := why_not_here(asked)) is not None:
            raise pytest.UsageError(f"--backend {asked}: {reason}")
        left_out = [item for item in items if backend_of(item) != asked]
        self.config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if backend_of(item) == asked]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        item.user_properties.append((PROPERTY, backend_of(item)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            backend = dict(report.user_properties).get(PROPERTY)
            self.outcomes.setdefault(backend, collections.Counter())[report.outcome] += 1

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if sum(self.outcomes.values(), collections.Counter()).keys() == {"skipped"}:
            self.complaints.append("every test that was selected is skipped: nothing was tested")
        self.complaints += [
            f"backend {name} was asked for, and all of its tests are skipped"
            for name in asked_by_name(self.config)
            if self.outcomes.get(name, {}).keys() == {"skipped"}
        ]
        if self.complaints and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for complaint in self.complaints:
            terminalreporter.write_line(f"ERROR: {complaint}", red=True)
