"""The adapter between pytest-xdist's `Scheduling` protocol and the assignment.

Register `ControllerSide(config, describe, ...)` on the controller. It opens the channel to each worker,
hands xdist the scheduler when `--dist` is `load` or `worksteal`, and stops all workers once as many tests
have failed as `--maxfail` allows.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_perfcache.schedule.assignment import Assignment, Send
from pytest_perfcache.schedule.jobs import Job, Order
from pytest_perfcache.schedule.meta import ResourceError, TestMeta, decode, plain_meta
from pytest_perfcache.schedule.resources import Ledger
from pytest_perfcache.schedule.xdist_worker import LINK, PAUSES, STOP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from xdist.workermanage import WorkerController

    Describe = Callable[[Sequence[TestMeta]], Sequence[Job]]

OWN_DISTS: Final = ("load", "worksteal")


class Links:
    """The channels to the workers, and what came through them, by the id of the gateway."""

    def __init__(self) -> None:
        self._channels: Final[dict[str, Any]] = {}
        self._received: Final[dict[str, Any]] = {}

    def open(self, node: WorkerController) -> None:
        """Open the channel of a worker that is about to be set up."""
        name = node.gateway.id
        channel = node.gateway.newchannel()
        self._channels[name] = channel
        channel.setcallback(lambda message: self._received.__setitem__(name, message))
        node.workerinput[LINK] = channel

    def metas(self, node: WorkerController) -> list[TestMeta] | None:
        """What the worker told of its tests, in its order; None when it has no perfcache."""
        encoded = self._received.pop(node.gateway.id, None)
        return None if encoded is None else decode(encoded)

    def stop(self) -> None:
        """Tell every worker to begin no test any more."""
        for channel in self._channels.values():
            try:
                channel.send(STOP)
            except OSError:  # the worker is gone, and begins nothing
                continue


class PerfcacheScheduling:
    """xdist's `Scheduling`, with an index map for each worker; indices are the workers' own."""

    def __init__(
        self,
        links: Links,
        describe: Describe,
        *,
        capacities: Mapping[str, int],
        order: Order = Order.AUTO,
        expected_workers: int = 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.assignment: Final = Assignment(capacities=capacities, order=order, expected_workers=expected_workers)
        self.sent: Final[dict[str, list[str]]] = {}
        self._links: Final = links
        self._describe: Final = describe
        self._clock: Final = clock
        self._nodes: Final[dict[str, WorkerController]] = {}
        self._keys: Final[dict[str, list[str]]] = {}
        self._indices: Final[dict[str, dict[str, int]]] = {}
        self._jobs: Final[dict[str, Job]] = {}

    @property
    def nodes(self) -> list[WorkerController]:
        """All workers that are ready and not gone."""
        return list(self._nodes.values())

    @property
    def collection_is_completed(self) -> bool:
        """True once one worker has collected: the others join when they have."""
        return bool(self._keys)

    @property
    def tests_finished(self) -> bool:
        """Whether the shutdown of all workers loses no test."""
        return self.collection_is_completed and self.assignment.finished

    @property
    def has_pending(self) -> bool:
        """Whether tests were handed out and some wait or run; before that, xdist names its scheduler."""
        if not self.sent:
            return False
        return bool(self.assignment.pending) or any(worker.jobs for worker in self.assignment)

    def add_node(self, node: WorkerController) -> None:
        """A worker is up and collects."""
        self._nodes[node.gateway.id] = node

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """A worker has collected these node ids, in its own order; raises UsageError for a wrong claim."""
        name = node.gateway.id
        try:
            metas = self._links.metas(node)
        except ResourceError as error:
            raise pytest.UsageError(str(error)) from error
        keys = unique_keys(collection)
        self._keys[name] = keys
        self._indices[name] = {key: index for index, key in enumerate(keys)}
        self._learn(keys, metas or [plain_meta(nodeid) for nodeid in collection])
        known = self._indices[name].keys()
        knows = None if len(known) == len(self._jobs) else frozenset(known)
        self._narrow(name)
        self.assignment.add_worker(name, can_pause=metas is not None, knows=knows)

    def schedule(self) -> None:
        """Hand out what can be handed out."""
        for name, node in self._nodes.items():
            worker = self.assignment.workers.get(name)
            if worker is not None and node.shutting_down and not worker.closing:
                self.assignment.close(name)
        for send in self.assignment.step(self._clock()):
            self._send(send)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """A worker is through with a test, or a pause, and its teardown; the clock here times it."""
        del duration
        name = node.gateway.id
        keys = self._keys[name]
        self.assignment.complete(name, keys[item_index] if item_index < len(keys) else None, self._clock())
        self.schedule()

    def mark_test_pending(self, item: str) -> None:
        """Run a test again that was blamed for a crash."""
        self.assignment.requeue(self._jobs[item])
        self.schedule()

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        """Answers xdist's `steal`, which is never sent here."""
        raise NotImplementedError("perfcache steals no tests")

    def remove_node(self, node: WorkerController) -> str | None:
        """A worker is gone: the node id of the test it crashed in, None when it ended by itself."""
        name = node.gateway.id
        del self._nodes[name]
        if name not in self.assignment.workers:
            return None
        blamed = self.assignment.remove_worker(name)
        ended_by_itself = hasattr(node, "workeroutput")
        if blamed is not None and ended_by_itself and not self.assignment.stopped:
            self.assignment.requeue(blamed)
        self.schedule()
        return None if blamed is None or ended_by_itself else nodeid_of(blamed.key)

    def stop(self) -> None:
        """No test begins any more, here or on any worker."""
        self.assignment.stop()
        self._links.stop()

    def _learn(self, keys: Sequence[str], metas: Sequence[TestMeta]) -> None:
        new = [(key, meta) for key, meta in zip(keys, metas, strict=True) if key not in self._jobs]
        jobs = self._describe([meta for _, meta in new])
        fresh = [job._replace(key=key) for (key, _), job in zip(new, jobs, strict=True)]
        refuse_excesses(self.assignment.ledger, fresh)
        self._jobs.update((job.key, job) for job in fresh)
        self.assignment.add_jobs(fresh)

    def _narrow(self, joined: str) -> None:
        """Workers that knew all tests until this one brought more know them all no longer."""
        for worker in self.assignment:
            known = self._indices[worker.name].keys()
            if worker.name != joined and worker.knows is None and len(known) < len(self._jobs):
                worker.knows = frozenset(known)

    def _send(self, send: Send) -> None:
        node = self._nodes[send.worker]
        indices = self._indices[send.worker]
        pause = len(self._keys[send.worker])
        try:
            if send.entries:
                node.send_runtest_some([indices[job.key] if job else pause for job in send.entries])
            if send.shutdown:
                node.shutdown()
        except OSError:  # the worker died; xdist will report that, and the tests are then pending again
            return
        self.sent.setdefault(send.worker, []).extend(nodeid_of(job.key) for job in send.entries if job)


class ControllerSide:
    """A plugin object for the controller; `describe` turns metas into jobs with what the store knows."""

    def __init__(
        self,
        config: pytest.Config,
        describe: Describe,
        *,
        capacities: Mapping[str, int] | None = None,
        order: Order = Order.AUTO,
    ) -> None:
        self.scheduling: PerfcacheScheduling | None = None
        self._describe: Final = describe
        self._capacities: Final = capacities or {}
        self._order: Final = order
        self._links: Final = Links()
        self._maxfail: Final[int] = config.getoption("maxfail")
        self._schedules: Final = config.getoption("dist") in OWN_DISTS
        self._failures = 0

    def seconds_left(self) -> float:
        """For how long the workers will have tests to begin; infinity where that of one is not known."""
        found = self.scheduling
        if found is None or found.assignment.stopped:
            return 0.0
        pending = list(found.assignment.pending)
        if any(job.is_new or job.failed_last for job in pending):
            return math.inf
        return sum(job.seconds for job in pending) / max(1, len(found.assignment.workers))

    @pytest.hookimpl
    def pytest_configure_node(self, node: WorkerController) -> None:
        """Give the worker its channel."""
        self._links.open(node)
        node.workerinput[PAUSES] = self._schedules

    @pytest.hookimpl
    def pytest_xdist_make_scheduler(self, config: pytest.Config) -> PerfcacheScheduling | None:
        """The scheduler, unless the user chose one of xdist's own."""
        if not self._schedules:
            return None
        from xdist.workermanage import parse_tx_spec_config

        self.scheduling = PerfcacheScheduling(
            self._links,
            self._describe,
            capacities=self._capacities,
            order=self._order,
            expected_workers=len(parse_tx_spec_config(config)),
        )
        return self.scheduling

    @pytest.hookimpl
    def pytest_xdist_node_collection_finished(self, node: WorkerController) -> None:
        """Under xdist's own schedulers nobody else asks whether the claims can be met; raises UsageError."""
        if self._schedules:
            return
        try:
            metas = self._links.metas(node) or []
        except ResourceError as error:
            raise pytest.UsageError(str(error)) from error
        ledger = Ledger(self._capacities)
        refuse_excesses(ledger, (Job(meta.nodeid, 0.0, claims=meta.claims) for meta in metas if meta.claims))

    @pytest.hookimpl
    def pytest_testnodedown(self, node: WorkerController, error: object | None) -> None:
        """Before xdist replaces a lost worker: connecting again to a host that is gone would end the run."""
        if error is not None and not node.gateway.spec.popen:
            replace_by_local(node.gateway.spec)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count failures as xdist does; the report of a crash has no phase and does not count there."""
        if report.failed and report.when in ("setup", "call", "teardown"):
            self._count_failure()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that cannot be collected counts as a failure."""
        if report.failed:
            self._count_failure()

    def _count_failure(self) -> None:
        self._failures += 1
        if self._maxfail and self._failures >= self._maxfail and self.scheduling is not None:
            self.scheduling.stop()


def refuse_excesses(ledger: Ledger, jobs: Iterable[Job]) -> None:
    """Raise UsageError where tests ask for more than there is."""
    excesses = [sentence for job in jobs if (sentence := ledger.excess(job))]
    if excesses:
        raise pytest.UsageError("; ".join(excesses))


def replace_by_local(spec: Any) -> None:
    """Turn the specification of a worker on another host into one for this host."""
    spec.popen = True
    spec.socket = spec.ssh = spec.vagrant_ssh = spec.via = spec.python = spec.chdir = None


def unique_keys(nodeids: Sequence[str]) -> list[str]:
    """The node ids, each repetition told apart by a number."""
    seen: Counter[str] = Counter()
    keys = []
    for nodeid in nodeids:
        keys.append(f"{nodeid}\0{seen[nodeid]}" if seen[nodeid] else nodeid)
        seen[nodeid] += 1
    return keys


def nodeid_of(key: str) -> str:
    """The node id of a key."""
    return key.split("\0", 1)[0]
