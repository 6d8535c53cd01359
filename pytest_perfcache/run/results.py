"""How each test ended in this session, wherever it ran; and the reports of those that did not need to."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import pytest

from pytest_perfcache.model import Outcome, TestResult, Verdict

Location: TypeAlias = tuple[str, int | None, str]


class CachedReport(pytest.TestReport):
    """Stands for a test that was not run because its result is proved unchanged."""

    @classmethod
    def of(cls, nodeid: str, location: Location, keywords: Iterable[str] = ()) -> CachedReport:
        return cls(
            nodeid=nodeid,
            location=location,
            keywords=dict.fromkeys(keywords, 1),
            outcome="passed",
            longrepr=None,
            when="call",
        )


@dataclass(slots=True)
class _Phases:
    outcomes: list[Outcome] = field(default_factory=list)
    phases: set[str] = field(default_factory=set)
    duration: float = 0.0
    worker: str | None = None

    def outcome(self) -> Outcome:
        """The gravest; a pass is one only when the test was called and torn down."""
        gravest = min(self.outcomes, key=_GRAVITY.index)
        complete = {"call", "teardown"} <= self.phases
        return gravest if complete or gravest is not Outcome.PASSED else Outcome.INTERRUPTED


_GRAVITY: Final = (
    Outcome.FAILED,
    Outcome.INTERRUPTED,
    Outcome.RERUN,
    Outcome.XPASSED,
    Outcome.XFAILED,
    Outcome.SKIPPED,
    Outcome.PASSED,
)


class ResultsPlugin:
    """Listens to every report of the session: results, verdicts and the time the tests took."""

    def __init__(self) -> None:
        self.verdicts: dict[str, Verdict] = {}
        self.started: float | None = None
        self.seconds = 0.0
        """Wall time of the test loop."""
        self._phases: dict[str, _Phases] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        self.started = time.perf_counter()
        try:
            return (yield)
        finally:
            self.seconds = time.perf_counter() - self.started

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if isinstance(report, CachedReport):
            return
        phases = self._phases.setdefault(report.nodeid, _Phases())
        phases.outcomes.append(outcome_of(report))
        phases.phases.add(str(report.when))
        phases.duration += report.duration
        phases.worker = getattr(report, "worker_id", None)

    def results(self) -> list[TestResult]:
        return [
            TestResult(nodeid, found.outcome(), found.duration, found.worker) for nodeid, found in self._phases.items()
        ]


def outcome_of(report: pytest.TestReport) -> Outcome:
    """The outcome of one phase."""
    if hasattr(report, "wasxfail"):
        return Outcome.XFAILED if report.skipped else Outcome.XPASSED
    try:
        return Outcome(report.outcome)
    except ValueError:
        return Outcome.INTERRUPTED


def report_hits(config: pytest.Config, hits: Iterable[CachedReport]) -> None:
    """Tell every plugin of tests that were hits, as it would be told of passes."""
    for report in hits:
        config.hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        config.hook.pytest_runtest_logreport(report=report)
        config.hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
