"""``--perfcache-verify``: hits that ran all the same, held against what was recorded of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from pytest_perfcache.model import ModuleRecords, Outcome, Reason, Record
from pytest_perfcache.run.memory import Memory
from pytest_perfcache.run.results import ResultsPlugin

_FAILED = 1


class VerifyingPlugin:
    """Fails the session where a hit that was verified did not pass, and shows both traces."""

    def __init__(self, memory: Memory, results: ResultsPlugin) -> None:
        self._memory = memory
        self._results = results
        self._verified = 0
        self._lines: list[str] = []

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        chosen = {
            nodeid: verdict.outcome
            for nodeid, verdict in self._results.verdicts.items()
            if verdict.reason is Reason.VERIFY
        }
        results = [result for result in self._results.results() if result.nodeid in chosen]
        self._verified = len(results)
        wrong = [result for result in results if result.outcome not in (chosen[result.nodeid], Outcome.INTERRUPTED)]
        for result in wrong:
            self._lines += self._disagreement(result.nodeid, result.outcome)
        if wrong and session.exitstatus == 0:
            session.exitstatus = _FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._lines:
            terminalreporter.section("perfcache: verification failed", "=", red=True)
            for line in self._lines:
                terminalreporter.line(line)
        elif self._verified:
            terminalreporter.line(f"perfcache: {self._verified} hits verified, all passed")

    def _disagreement(self, nodeid: str, outcome: Outcome) -> Iterator[str]:
        yield f"{nodeid} was a hit, but {outcome} when it ran"
        before = next(self._before(nodeid), None)
        after = self._after(nodeid, self._memory.fresh)
        old = {fact.key for fact in before.facts} if before else set()
        new = {fact.key for fact in after.facts} | self._memory.world.run.keys() if after else set()
        yield f"  {len(old)} facts recorded, {len(new)} now, {len(old & new)} in both"
        yield from (f"  only recorded: {key}" for key in sorted(old - new))
        yield from (f"  only now: {key}" for key in sorted(new - old))

    def _before(self, nodeid: str) -> Iterator[Record]:
        for path, known in self._memory.planner.loaded():
            record = self._memory.planner.matching(path, nodeid) if known == nodeid else None
            if record is not None:
                yield record

    @staticmethod
    def _after(nodeid: str, fresh: Iterable[ModuleRecords]) -> Record | None:
        histories = (module.tests[nodeid] for module in fresh if nodeid in module.tests)
        return next((record for history in histories for record in history.records), None)
