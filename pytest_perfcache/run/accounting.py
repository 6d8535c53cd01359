"""What became of the workers' time: stamps from xdist's hooks, and the account of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pytest_perfcache.report.stats import Parallel
from pytest_perfcache.schedule.efficiency import TestSpan, Wait, WorkerSpan, account
from pytest_perfcache.schedule.jobs import Job

Jobs = Callable[[], Mapping[str, Job]]
Waits = Callable[[], Iterable[Wait]]


@dataclass(slots=True)
class _Test:
    """Seconds since the epoch, by the clock of the worker."""

    start: float
    end: float


class AccountPlugin:
    """Listens on the controller. ``waits`` are in seconds of ``time.perf_counter``."""

    def __init__(self, jobs: Jobs, waits: Waits) -> None:
        self._jobs = jobs
        self._waits = waits
        self._workers: dict[str, WorkerSpan] = {}
        self._tests: dict[tuple[str, str], _Test] = {}
        self._asked = time.time()
        self._described = 0
        self._expected: Mapping[str, float] = {}
        self.orders: dict[str, list[str]] = {}
        """Node ids by worker, in the order in which they ran."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self) -> None:
        self._asked = time.time()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        never = float("inf")
        asked = time.time() if self.orders else self._asked
        self._workers[node.gateway.id] = WorkerSpan(node.gateway.id, asked, never, never, never)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        self._stamp(node, lambda known, now: replace(known, ready=now))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any) -> None:
        self._stamp(node, lambda known, now: replace(known, collected=now))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._stamp(node, lambda known, now: replace(known, gone=now))

    def _stamp(self, node: Any, stamped: Callable[[WorkerSpan, float], WorkerSpan]) -> None:
        known = self._workers.get(node.gateway.id)
        if known is not None:
            self._workers[node.gateway.id] = stamped(known, time.time())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        node = getattr(report, "node", None)
        if node is None:
            return
        worker = node.gateway.id
        key = worker, report.nodeid
        if key not in self._tests:
            self.orders.setdefault(worker, []).append(report.nodeid)
            start = getattr(report, "start", 0.0) or time.time()
            self._tests[key] = _Test(start, start)
        self._tests[key].end = max(self._tests[key].end, getattr(report, "stop", 0.0))

    def expected(self) -> Mapping[str, float]:
        """Expected seconds by node id, of what the workers have collected; nothing where no test was known before."""
        jobs = self._jobs()
        if len(jobs) != self._described:
            self._described = len(jobs)
            known = any(not job.is_new for job in jobs.values())
            self._expected = {key: job.seconds for key, job in jobs.items()} if known else {}
        return self._expected

    def parallel(self) -> Parallel | None:
        """None where no test ran on a worker."""
        offset = time.time() - time.perf_counter()
        waits = [replace(wait, start=wait.start + offset, end=wait.end + offset) for wait in self._waits()]
        found = account(list(self._workers.values()), list(self._spans()), waits)
        if found is None:
            return None
        return Parallel(
            wall=found.wall,
            start_up=found.start_up,
            collection=found.collection,
            gaps=found.gaps,
            tail=found.tail,
            waiting=found.waiting,
            efficiency=found.efficiency,
            critical_path=found.critical_path,
            critical_seconds=found.critical_seconds,
            one_more=found.one_more,
            by_worker=found.by_worker,
        )

    def _spans(self) -> Iterator[TestSpan]:
        jobs = self._jobs()
        for (worker, nodeid), test in self._tests.items():
            claims = jobs[nodeid].claims if nodeid in jobs else ()
            exclusive = frozenset(claim.resource for claim in claims if claim.amount is None and not claim.shared)
            yield TestSpan(nodeid, worker, test.start, test.end, exclusive)
