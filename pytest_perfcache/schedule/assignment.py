"""Who runs what next: a state machine that is told what happened and answers with what to send.

A worker starts a test only when it knows what follows it (a test, a pause, or its shutdown), so what was
sent last waits behind a closed gate. A *pause* is a follower that runs nothing: it lets a test start while
the choice of the next one stays open. Only short tests, and tests that share a costly set-up, are
committed ahead; the committed work is a small part of what remains, so a wrong estimate costs little.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_perfcache.schedule.efficiency import Wait
from pytest_perfcache.schedule.jobs import SESSION, Job, Order
from pytest_perfcache.schedule.lanes import Lane, Pending, home_of
from pytest_perfcache.schedule.policy import Horizon, Policy
from pytest_perfcache.schedule.resources import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

Pause = None
"""The follower that runs nothing and keeps no fixture but those of the session."""


@dataclass(frozen=True, slots=True)
class Send:
    """What to send to a worker: entries in order (`None` is a pause), then perhaps the shutdown."""

    worker: str
    entries: tuple[Job | None, ...]
    shutdown: bool = False


@dataclass(slots=True)
class Worker:
    """What was sent to a worker and is not known to be over."""

    name: str
    can_pause: bool
    knows: AbstractSet[str] | None
    queue: deque[Job | None] = field(default_factory=deque)
    closing: bool = False
    since: float = 0.0
    home: str = ""

    @property
    def jobs(self) -> list[Job]:
        """The tests among what was sent."""
        return [entry for entry in self.queue if entry is not None]

    @property
    def gate_open(self) -> bool:
        """Whether the first entry may be running."""
        return len(self.queue) > 1 or (self.closing and bool(self.queue))

    def ahead(self) -> float:
        """Expected seconds of the tests behind the first one."""
        return sum(job.seconds for job in self.jobs[1:])

    def remaining(self, now: float) -> float:
        """Expected seconds until the worker is through with its queue."""
        jobs = self.jobs
        if not jobs:
            return 0.0
        return sum(job.seconds for job in jobs) - min(jobs[0].seconds, max(0.0, now - self.since))

    def can_run(self, job: Job) -> bool:
        """Whether the worker collected this test."""
        return self.knows is None or job.key in self.knows


class Assignment:
    """The assignment of one run; times are seconds of any monotonic clock."""

    def __init__(
        self,
        jobs: Iterable[Job] = (),
        *,
        capacities: Mapping[str, int] | None = None,
        order: Order = Order.AUTO,
        expected_workers: int = 1,
        policy: Policy | None = None,
    ) -> None:
        self.ledger: Final = Ledger(capacities)
        self.pending: Final = Pending(self.ledger, order)
        self.policy: Final = policy or Policy()
        self.stopped = False
        self.unreachable: Final[list[Job]] = []
        self.waits: Final[list[Wait]] = []
        self._waiting: Final[dict[str, tuple[float, frozenset[str]]]] = {}
        self._expected: Final = expected_workers
        self._workers: Final[dict[str, Worker]] = {}
        self._groups: Final[dict[str, str]] = {}
        self._joined = 0
        self._horizon: Horizon | None = None
        self._started: float | None = None
        self._sends: dict[str, list[Job | None]] = {}
        self._shutdowns: set[str] = set()
        self.pending.extend(jobs)

    @property
    def workers(self) -> Mapping[str, Worker]:
        """The workers that have joined and are not gone."""
        return self._workers

    @property
    def finished(self) -> bool:
        """Whether nothing waits for a decision: a shutdown of all workers would lose no test."""
        waiting = (worker for worker in self._workers.values() if worker.queue and not worker.gate_open)
        return self.stopped or not (self.pending or any(worker.jobs for worker in waiting))

    def add_jobs(self, jobs: Iterable[Job]) -> None:
        """More tests to run, from a worker that collected what others did not."""
        self.pending.extend(jobs)
        self._horizon = None

    def add_worker(self, name: str, *, can_pause: bool = True, knows: AbstractSet[str] | None = None) -> None:
        """A worker has collected; `knows` names its tests when they are not all tests of the run."""
        self._workers[name] = Worker(name, can_pause, knows)
        self._joined += 1
        self._horizon = None

    def complete(self, name: str, key: str | None, now: float) -> None:
        """A worker is through with its first entry: a test by its key, or a pause."""
        worker = self._workers[name]
        entry = worker.queue.popleft()
        if (entry.key if entry else None) != key:
            raise ValueError(f"{name} completed {key!r}, not {entry.key if entry else 'a pause'!r}")
        worker.since = now
        if entry is not None:
            follower = worker.queue[0] if worker.queue else Pause
            scopes: Sequence[str] = follower.scopes if follower else (SESSION,)
            self.ledger.release(name, entry, scopes if worker.queue or not worker.closing else ())

    def remove_worker(self, name: str) -> Job | None:
        """A worker is gone: its waiting tests are pending again; returns the test it was running.

        Only a test whose gate was open is blamed. Unknown names raise KeyError.
        """
        worker = self._workers.pop(name)
        self.ledger.drop(name)
        self._unbind(name)
        self._waiting.pop(name, None)
        self._horizon = None
        blamed = worker.queue.popleft() if worker.gate_open else None
        for job in worker.jobs:
            self.pending.add(job)
        return blamed

    def requeue(self, job: Job) -> None:
        """Run a test again."""
        self.pending.add(job)
        self._horizon = None

    def close(self, name: str) -> None:
        """The shutdown was sent to a worker by someone else."""
        self._workers[name].closing = True
        self._unbind(name)

    def stop(self) -> None:
        """Hand out nothing any more."""
        self.stopped = True

    def step(self, now: float) -> list[Send]:
        """Decide all that can be decided now."""
        if self.stopped:
            return []
        self._sends, self._shutdowns = {}, set()
        for worker in self._open():
            if not worker.jobs:
                self._start(worker, now)
        for worker in self._open():
            self._top_up(worker, now)
            self._follow(worker, now)
        self._settle()
        names = [name for name in self._workers if name in self._sends or name in self._shutdowns]
        return [Send(name, tuple(self._sends.get(name, ())), name in self._shutdowns) for name in names]

    def _open(self) -> list[Worker]:
        return [worker for worker in self._workers.values() if not worker.closing]

    def _start(self, worker: Worker, now: float) -> None:
        """Give an idle worker its next test, or its shutdown when none can be left for it."""
        job = self._pick(worker, now)
        self._note_wait(worker.name, now, job)
        if job is not None:
            self._append(worker, job, now)
        elif not self.pending or (self.pending.alone == len(self.pending) and self._is_spare(worker)):
            self._shut_down(worker)

    def _note_wait(self, name: str, now: float, job: Job | None) -> None:
        """Remember since when a worker idles, and for which resources."""
        if job is not None or not self.pending:
            start, resources = self._waiting.pop(name, (now, frozenset[str]()))
            if now > start:
                self.waits.append(Wait(name, start, now, resources))
        elif name not in self._waiting:
            needed = {claim.resource for lane in self.pending.lanes for claim in lane.key.claims}
            self._waiting[name] = (now, frozenset(needed))

    def _is_spare(self, worker: Worker) -> bool:
        return any(other.name < worker.name or other.jobs for other in self._open() if other is not worker)

    def _top_up(self, worker: Worker, now: float) -> None:
        """Commit short tests ahead, so that no short test waits for a message, nor behind a long one."""
        quantum = self._look(now).quantum
        if not worker.jobs or worker.jobs[0].seconds > quantum:
            return
        while worker.queue[-1] is not Pause and worker.ahead() < quantum:
            job = self._pick(worker, now, quantum)
            if job is None:
                return
            self._append(worker, job, now)

    def _follow(self, worker: Worker, now: float) -> None:
        """Send a follower for the last test where it would wait, or where nothing could be gained."""
        if worker.closing or not worker.queue or (last := worker.queue[-1]) is Pause:
            return
        if not self.pending:
            self._shut_down(worker)
            return
        if len(worker.queue) > 1 and last.seconds < self._look(now).quantum:
            return
        held = self._next_at_home(worker, now)
        if held and self.policy.holds_at_home(last, self._look(now), now):
            if len(worker.queue) == 1:
                self._append(worker, held, now)
        elif worker.can_pause:
            self._append(worker, Pause, now)
        elif len(worker.queue) == 1:
            self._hold(worker, now)

    def _hold(self, worker: Worker, now: float) -> None:
        """Without pauses: hold the longest test that fits before the projected end, else the shortest."""
        horizon = self._look(now)
        room = horizon.end - now - worker.remaining(now)
        choices = [
            lane.largest_within(room) if self.pending.order is Order.AUTO else lane.first for lane in self.pending.lanes
        ]
        choices = [job for job in choices if self._may_run(worker, job) and (not job.alone or self._only_alone())]
        fitting = [job for job in choices if job.seconds <= room]
        if fitting:
            self._append(worker, max(fitting, key=lambda job: job.seconds), now)
        elif choices:
            self._append(worker, min(choices, key=lambda job: job.seconds), now)
        elif len(self._open()) > 1:
            self._shut_down(worker)

    def _settle(self) -> None:
        """Leave no state in which nobody runs and something waits."""
        idle = [worker for worker in self._open() if not worker.jobs]
        if not self.pending or len(idle) < len(self._workers) or not idle:
            return
        known = [job for job in self.pending if any(worker.can_run(job) for worker in idle)]
        if known and len(idle) > 1:
            self._shut_down(min(idle, key=lambda worker: (worker.name in self._groups.values(), worker.name)))
        elif not known and self._joined >= self._expected:
            self.unreachable.extend(self.pending)
            for job in self.unreachable:
                self.pending.take(job)
            for worker in idle:
                self._shut_down(worker)

    def _pick(self, worker: Worker, now: float, limit: float = float("inf")) -> Job | None:
        """The best test this worker may take now, of at most `limit` seconds."""
        if job := self._next_at_home(worker, now):
            return job if job.seconds <= limit else None
        best: Job | None = None
        best_value: tuple[float, ...] = ()
        horizon = self._look(now)
        for lane in self.pending.lanes:
            if lane.key.alone and not self._only_alone():
                continue
            job, value = self.policy.offer(lane, self.pending, horizon, now, self._owners(lane))
            if (best is None or value > best_value) and self._suits(worker, lane, job, limit):
                best, best_value = job, value
        return best

    def _suits(self, worker: Worker, lane: Lane, job: Job, limit: float) -> bool:
        if job.seconds > limit or not self._may_run(worker, job):
            return False
        owners = self._owners(lane)
        return not owners or lane.setup + job.seconds < self._home_seconds(lane.key.home) / owners

    def _may_run(self, worker: Worker, job: Job) -> bool:
        if job.group and self._groups.get(job.group, worker.name) != worker.name:
            return False
        return worker.can_run(job) and self.ledger.can_acquire(worker.name, job)

    def _next_at_home(self, worker: Worker, now: float) -> Job | None:
        """The next test that shares the set-up which is alive on the worker."""
        if self.pending.order is Order.AUTO:
            for lane in self.pending.at_home(worker.home):
                job = self.policy.at_home(lane, self.pending, self._look(now), now)
                if self._may_run(worker, job):
                    return job
        return None

    def _owners(self, lane: Lane) -> int:
        if not lane.key.home:
            return 0
        return sum(worker.home == lane.key.home for worker in self._workers.values())

    def _home_seconds(self, home: str) -> float:
        return sum(lane.total for lane in self.pending.at_home(home))

    def _only_alone(self) -> bool:
        return self.pending.alone == len(self.pending)

    def _append(self, worker: Worker, entry: Job | None, now: float) -> None:
        if entry is None:
            worker.home = ""
        else:
            if not self.ledger.acquire(worker.name, entry):
                raise AssertionError(f"{entry.key} was chosen for {worker.name} without its resources")
            if not worker.jobs:
                worker.since = now
            self.pending.take(entry)
            worker.home = home_of(entry)[0]
            if entry.group:
                self._groups[entry.group] = worker.name
        worker.queue.append(entry)
        self._sends.setdefault(worker.name, []).append(entry)

    def _shut_down(self, worker: Worker) -> None:
        self._shutdowns.add(worker.name)
        self.close(worker.name)

    def _unbind(self, name: str) -> None:
        for group in [group for group, owner in self._groups.items() if owner == name]:
            del self._groups[group]

    def _look(self, now: float) -> Horizon:
        """What lies ahead, looked at again when it has changed noticeably."""
        if self._horizon is None or self._horizon.is_stale(now, len(self.pending)):
            running = [worker.remaining(now) for worker in self._workers.values()]
            open_workers = max(len(self._open()), self._expected - self._joined + len(self._open()), 1)
            if self._started is None:
                self._started = now
            self._horizon = self.policy.look(self.pending, running, open_workers, now, self._started)
        return self._horizon

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())
