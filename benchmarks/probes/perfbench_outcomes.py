"""Pytest plugin: write each test's outcome, and which tests were really executed, to PERFBENCH_OUTCOMES.

It stands alone (only pytest and the standard library), since it is loaded into other projects' interpreters.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

WORST_LAST = ("passed", "skipped", "xfailed", "xpassed", "failed", "error")


def outcome_of(report: pytest.TestReport) -> str:
    """One phase's outcome in pytest's own words; a failure outside the call phase is an error."""
    if report.failed:
        return "failed" if report.when == "call" else "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return report.outcome


class Outcomes:
    """Collects what pytest reports, and apart from it what pytest starts to execute."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, str] = {}
        self.executed: list[str] = []
        self.collection_errors: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected."""
        if report.failed:
            self.collection_errors.append(report.nodeid)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """A test whose set-up starts is executed, whatever is reported about it."""
        self.executed.append(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst phase of each test."""
        known = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = max(known, outcome_of(report), key=WORST_LAST.index)

    def pytest_sessionfinish(self) -> None:
        """Write everything as one JSON object."""
        self.path.write_text(
            json.dumps(
                {
                    "outcomes": self.outcomes,
                    "executed": self.executed,
                    "collection_errors": self.collection_errors,
                }
            )
        )


def pytest_configure(config: pytest.Config) -> None:
    """Register the probe in the process that reports, not in workers."""
    target = os.environ.get("PERFBENCH_OUTCOMES")
    if target and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(Path(target)), "perfbench-outcomes-recorder")
