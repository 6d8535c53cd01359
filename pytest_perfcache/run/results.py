"""How each test ended in this session, wherever it ran; and the reports of those that did not need to."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from pytest_perfcache.collect.known import Location, Retold, Unneeded
from pytest_perfcache.model import Outcome, TestResult, Told, Verdict

CATEGORY: Final = "cached"
"""What hits of passes count as in the terminal's last line."""


class CachedReport(pytest.TestReport):
    """Stands for a test that was not run because its result is proved unchanged."""

    category = CATEGORY

    @classmethod
    def of(
        cls,
        nodeid: str,
        location: Location,
        keywords: Iterable[str] = (),
        told: Told | None = None,
        root: str | os.PathLike[str] = "",
    ) -> CachedReport:
        """``told``: what there is to tell, None for a pass; ``root``: of the project."""
        words: Mapping[str, Any] = dict.fromkeys(keywords, 1)
        if told is None:
            return cls(nodeid=nodeid, location=location, keywords=words, outcome="passed", longrepr=None, when="call")
        skipped, expected = told.outcome is not Outcome.XPASSED, told.outcome is not Outcome.SKIPPED
        extra: dict[str, Any] = {"wasxfail": told.reason} if expected else {}
        path, line = told.where or (location[0], (location[1] or 0) + 1)
        report = cls(
            nodeid=nodeid,
            location=location,
            keywords=words,
            outcome="skipped" if skipped else "passed",
            longrepr=None if expected else (os.path.join(root, path), line, told.reason),
            when=told.when,  # type: ignore[arg-type]  # one of the three, as a report said it
            **extra,
        )
        report.category = str(told.outcome)
        return report


class Hit(NamedTuple):
    """A hit with what a report of it needs."""

    nodeid: str
    location: Location
    keywords: Iterable[str]
    told: Told | None

    def report(self, root: Path) -> CachedReport:
        return CachedReport.of(self.nodeid, self.location, self.keywords, None if self.plain else self.told, root)

    @property
    def plain(self) -> bool:
        """Whether it is one of a pass."""
        return self.told is None or self.told.outcome is Outcome.PASSED


class _Phases:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.phases: set[str] = set()
        self.duration = 0.0
        self.worker: str | None = None

    def outcome(self) -> Outcome:
        """The gravest; a pass is one only when the test was called and torn down."""
        gravest = min(self.outcomes, key=_RANK.__getitem__)
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
_RANK: Final = {outcome: rank for rank, outcome in enumerate(_GRAVITY)}


class Unseen(NamedTuple):
    """Hits of modules whose tests nobody looked at: how many, and the seconds that they took when they last ran."""

    tests: int = 0
    seconds: float = 0.0
    told: Sequence[Retold] = ()
    """Those that were no passes."""

    @classmethod
    def of(cls, modules: Sequence[Unneeded]) -> Unseen:
        """All of these modules together."""
        told = [row for module in modules for row in module.retold()]
        return cls(sum(module.tests for module in modules), sum(module.seconds for module in modules), told)


class ResultsPlugin:
    """Listens to every report of the session: results, verdicts and the time the tests took."""

    def __init__(self) -> None:
        self.verdicts: dict[str, Verdict] = {}
        self.started: float | None = None
        self.seconds = 0.0
        """Wall time of the test loop."""
        self.unseen = Unseen()
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


_OUTCOMES: Final[Mapping[str, Outcome]] = {str(outcome): outcome for outcome in Outcome}


def outcome_of(report: pytest.TestReport) -> Outcome:
    """The outcome of one phase."""
    if hasattr(report, "wasxfail"):
        return Outcome.XFAILED if report.skipped else Outcome.XPASSED
    return _OUTCOMES.get(report.outcome, Outcome.INTERRUPTED)


def report_hits(config: pytest.Config, hits: Sequence[Hit]) -> None:
    """Tell every plugin of tests that were hits, as it would be told of passes; pytest's own terminal only counts them
    unless each test is to be shown."""
    manager = config.pluginmanager
    reporter: Any = manager.get_plugin("terminalreporter")
    idle: list[Any] = [plugin for plugin in manager.get_plugins() if type(plugin).__module__ in _IDLE]
    if counts_only(config):
        idle.append(reporter)
        told = [hit.report(config.rootpath) for hit in hits if not hit.plain]
        count_hits(reporter, _passes(len(hits) - len(told)) + told)
    start, report, finish = (
        manager.subset_hook_caller(f"pytest_runtest_log{name}", idle) for name in ("start", "report", "finish")
    )
    if not (start.get_hookimpls() or report.get_hookimpls() or finish.get_hookimpls()):
        return
    for hit in hits:
        start(nodeid=hit.nodeid, location=hit.location)
        report(report=hit.report(config.rootpath))
        finish(nodeid=hit.nodeid, location=hit.location)


def counts_only(config: pytest.Config) -> bool:
    """Whether hits are counted in the last line of pytest's own terminal, and not shown one by one."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return type(reporter) is pytest.TerminalReporter and config.get_verbosity() <= 0


_IDLE: Final = frozenset(("_pytest.main", "_pytest.logging", "_pytest.terminalprogress", __name__))
"""Plugins that do nothing when they are told of a test that passed."""


def count_hits(reporter: pytest.TerminalReporter, hits: Sequence[CachedReport]) -> None:
    """Let the last line count these. pytest offers no public way to do that but a hook call for each."""
    if hits:
        reporter._add_stats(CATEGORY, [hit for hit in hits if hit.category == CATEGORY])
        for hit in hits:
            if hit.category != CATEGORY:
                reporter._add_stats(hit.category, [hit])
        reporter._tests_ran = True


def count_unseen(session: pytest.Session, results: ResultsPlugin, unseen: Unseen) -> None:
    """Count the hits of modules whose tests nobody looked at."""
    results.unseen = unseen
    session.testscollected += unseen.tests
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        root = session.config.rootpath
        told = [Hit(*row).report(root) for row in unseen.told]
        count_hits(reporter, _passes(unseen.tests - len(told)) + told)


def _passes(count: int) -> list[CachedReport]:
    """Reports of hits at which nobody looks one by one."""
    return [CachedReport.of("", ("", None, ""))] * count
