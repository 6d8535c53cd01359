"""The figures of one session. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pytest_perfcache.model import TestResult, Verdict


class Totals(NamedTuple):
    """Counts and seconds of some tests."""

    hits: int = 0
    runs: int = 0
    saved: float = 0.0
    """Seconds that the hits took when they last ran."""
    spent: float = 0.0
    """Seconds that the tests that ran took, all workers together."""

    @property
    def hit_rate(self) -> float | None:
        """Between 0 and 1; None where there is no test."""
        total = self.hits + self.runs
        return self.hits / total if total else None


class Parallel(NamedTuple):
    """What became of the workers' time, in seconds summed over the workers; ``wall`` is that of the run."""

    wall: float
    start_up: float
    collection: float
    gaps: float
    """Between tests."""
    tail: float
    """Idle after a worker's last test."""
    waiting: Mapping[str, float]
    """By the resource that somebody else held."""
    efficiency: float
    """Time in tests over the time after collection, between 0 and 1."""
    critical_path: tuple[str, ...]
    """The tests that no number of workers makes shorter."""
    critical_seconds: float
    one_more: float
    """What one more worker would have saved at best."""
    by_worker: Mapping[str, float]
    """Time in tests."""


class Session(NamedTuple):
    """All that is told of a session."""

    verdicts: Mapping[str, Verdict]
    results: Mapping[str, TestResult]
    seconds: float
    """Wall time of the test loop."""
    workers: int
    """How many ran tests at the same time, at least 1."""
    parallel: Parallel | None = None
    """None where no test ran on a worker."""
    unseen: Totals = Totals()
    """Hits of modules that did not even have to be collected, where nobody asked for them one by one."""

    def totals(self, nodeids: Iterable[str] | None = None) -> Totals:
        """Over all tests, or over these."""
        hits, saved = (self.unseen.hits, self.unseen.saved) if nodeids is None else (0, 0.0)
        runs, spent = 0, 0.0
        for nodeid in self.nodeids() if nodeids is None else nodeids:
            verdict, result = self.verdicts.get(nodeid), self.results.get(nodeid)
            if result is not None:
                runs += 1
                spent += result.duration
            elif verdict is not None and verdict.hit:
                hits += 1
                saved += verdict.duration or 0.0
        return Totals(hits, runs, saved, spent)

    def nodeids(self) -> list[str]:
        """Every test that was a hit or ran, hits first."""
        hits = [nodeid for nodeid, verdict in self.verdicts.items() if verdict.hit and nodeid not in self.results]
        return [*hits, *self.results]

    @property
    def efficiency(self) -> float | None:
        """Seconds spent in tests over seconds that all workers had; None where nothing ran."""
        if not self.results or self.seconds <= 0:
            return None
        return min(1.0, self.totals().spent / (self.seconds * self.workers))

    def by_module(self) -> dict[str, Totals]:
        modules: dict[str, list[str]] = {}
        for nodeid in self.nodeids():
            modules.setdefault(nodeid.partition("::")[0], []).append(nodeid)
        return {path: self.totals(nodeids) for path, nodeids in modules.items()}

    def by_reason(self) -> list[tuple[str, int]]:
        """Reasons of the tests that ran, the most frequent first."""
        counts = Counter(self.verdicts[nodeid].reason.value for nodeid in self.results if nodeid in self.verdicts)
        return counts.most_common()

    def slowest(self, count: int) -> list[TestResult]:
        return sorted(self.results.values(), key=lambda result: -result.duration)[:count]
