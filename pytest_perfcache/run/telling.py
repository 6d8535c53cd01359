"""Says what was decided: letters, header, summary, reports. In the process that talks to the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_perfcache.report import jsonfile, text
from pytest_perfcache.report.stats import Parallel, Session, Totals
from pytest_perfcache.run.memory import Memory
from pytest_perfcache.run.planning import RECORDS
from pytest_perfcache.run.results import CATEGORY, CachedReport, ResultsPlugin


class TellingPlugin:
    """Hooks of the terminal and of the end of the session."""

    def __init__(self, config: pytest.Config, memory: Memory, results: ResultsPlugin, choice: str) -> None:
        self._config = config
        self._memory = memory
        self._results = results
        self._workers: set[str] = set()
        self._choice = choice
        self.notes: list[str] = []
        """What else the end of the run says."""
        self.parallel: Callable[[], Parallel | None] = lambda: None

    @property
    def in_detail(self) -> bool:
        """Whether tests will be told of one by one, hits too."""
        settings = self._memory.settings
        return settings.report is not None or settings.explain is not None or bool(settings.stats)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        self._workers.add(node.gateway.id)

    def pytest_report_header(self) -> str:
        directory = self._memory.settings.dir
        root = self._config.rootpath
        shown = directory.relative_to(root) if directory.is_relative_to(root) else directory
        return text.header(str(shown), len(self._memory.store.keys(RECORDS)), self._choice)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, Mapping[str, bool]]] | None:
        if isinstance(report, CachedReport) and report.category == CATEGORY:
            return CATEGORY, "c", ("CACHED", {"green": True})
        return None

    def pytest_sessionstart(self) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            keep_green(reporter)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        report = self._memory.settings.report
        if report is not None:
            try:
                jsonfile.write(self.session(), Path(self._config.invocation_params.dir, report[1]))
            except OSError as error:
                self.notes.append(f"--perfcache-report: {report[1]} can not be written: {error}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        settings = self._memory.settings
        lines = text.summary(self.session())
        if settings.stats:
            lines += text.long_form(self.session(), self._memory.store.stats())
        if settings.explain is not None:
            lines += text.explain(self._results.verdicts, settings.explain) if lines else ()
        lines += self.notes
        if lines:
            terminalreporter.section("perfcache", "-")
            for line in lines:
                terminalreporter.line(line)

    def session(self) -> Session:
        results = {result.nodeid: result for result in self._results.results()}
        workers = len(self._workers) or 1
        unseen = Totals(hits=self._results.unseen.tests, saved=self._results.unseen.seconds)
        return Session(self._results.verdicts, results, self._results.seconds, workers, self.parallel(), unseen)


def keep_green(reporter: Any) -> None:
    """Let hits count as passes where the terminal chooses its colour.

    pytest turns the last line yellow for every category it does not know, and offers no hook to say otherwise.
    """
    determine = getattr(reporter, "_determine_main_color", None)
    if determine is None:
        return

    def _determine_main_color(unknown_type_seen: bool) -> str:
        known = {
            "failed",
            "error",
            "warnings",
            "xpassed",
            "passed",
            "skipped",
            "deselected",
            "xfailed",
            CATEGORY,
            "",
        }
        color: str = determine(unknown_type_seen and not known.issuperset(reporter.stats))
        bad = {"failed", "error", "warnings", "xpassed"} & set(reporter.stats)
        return "green" if color == "yellow" and not bad and CATEGORY in reporter.stats else color

    reporter._determine_main_color = _determine_main_color
