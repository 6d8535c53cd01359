"""Workers, gates, messages and faults in simulated time, driving the scheduler's own core."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from pytest_perfcache.schedule.assignment import Assignment
from pytest_perfcache.schedule.jobs import SESSION, Claim, Job, Order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_perfcache.schedule.policy import Policy


@dataclass(frozen=True, slots=True)
class Suite:
    """Jobs as the scheduler sees them, with the durations, in seconds, that they really take."""

    jobs: tuple[Job, ...]
    truth: Mapping[str, float]
    capacities: Mapping[str, int] = field(default_factory=dict)

    def lower_bound(self, workers: int) -> float:
        """Seconds that no schedule can beat: sum over workers, longest test, heaviest chain.

        Each shared set-up counts once in the sum.
        """
        loads: defaultdict[str, float] = defaultdict(float)
        groups: defaultdict[str, float] = defaultdict(float)
        for job in self.jobs:
            if job.group:
                groups[job.group] += self.truth[job.key]
            for claim in job.claims:
                capacity = self.capacities.get(claim.resource, 1)
                share = 0.0 if claim.shared else 1.0 if claim.amount is None else claim.amount / capacity
                loads[claim.resource] += share * self.truth[job.key]
        alone = sum(self.truth[job.key] for job in self.jobs if job.alone)
        setups = {setup.scope: setup.seconds for job in self.jobs for setup in job.setups}
        spread = alone + (sum(self.truth.values()) + sum(setups.values()) - alone) / workers
        longest = max(self.truth[job.key] + sum(setup.seconds for setup in job.setups) for job in self.jobs)
        return max(spread, longest, *loads.values(), *groups.values())


def longest_first(suite: Suite, workers: int, seconds: Mapping[str, float]) -> float | None:
    """Makespan in seconds of the greedy list schedule, longest first by `seconds` (R. L. Graham, 1969).

    None where tests depend on each other by resources, groups or shared set-up: greedy is then no yardstick.
    """
    if any(job.claims or job.group or job.alone or job.setups for job in suite.jobs):
        return None
    free = [0.0] * workers
    for job in sorted(suite.jobs, key=lambda job: -seconds[job.key]):
        heapq.heapreplace(free, free[0] + suite.truth[job.key])
    return max(free)


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong: the seconds at which one worker dies, whether it is replaced, and `-x`.

    `failing` are keys whose first failure stops the run; `late` are the seconds by which the workers join.
    """

    crashes: Sequence[float] = ()
    replaced: bool = True
    rerun_blamed: bool = False
    failing: frozenset[str] = frozenset()
    late: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """When tests ended, in seconds; which were blamed for a crash; whether the run was stopped."""

    ends: tuple[float, ...]
    completed: tuple[str, ...]
    blamed: tuple[str, ...]
    stopped: bool

    @property
    def makespan(self) -> float:
        """Seconds from the start to the end of the last test."""
        return max(self.ends, default=0.0)

    @property
    def half(self) -> float:
        """Seconds until half of the tests were done."""
        return sorted(self.ends)[(len(self.ends) - 1) // 2] if self.ends else 0.0


class InvariantError(AssertionError):
    """The scheduler did what it must never do."""


@dataclass(slots=True)
class _Machine:
    """The worker's side: its queue, what it runs, and the fixtures that are alive in it."""

    name: str
    queue: deque[Job | None] = field(default_factory=deque)
    shutdown: bool = False
    running: Job | None = None
    alive: set[str] = field(default_factory=set)
    fixtures: dict[tuple[str, str], Claim] = field(default_factory=dict)
    dead: bool = False
    told_to_stop: bool = False

    def claims(self) -> Iterator[Claim]:
        """What is in use on this worker now."""
        if self.running is not None:
            yield from (claim for claim in self.running.claims if not claim.scope)
        yield from self.fixtures.values()


def check_resources(machines: Sequence[_Machine], capacities: Mapping[str, int]) -> None:
    """The independent oracle: raises InvariantError when uses of two workers collide."""
    users: defaultdict[str, dict[str, list[Claim]]] = defaultdict(dict)
    running = [machine.running for machine in machines if machine.running is not None]
    if len(running) > 1 and any(job.alone for job in running):
        raise InvariantError(f"not alone: {[job.key for job in running]}")
    for machine in machines:
        for claim in machine.claims():
            users[claim.resource].setdefault(machine.name, []).append(claim)
    for resource, by_worker in users.items():
        if len(by_worker) < 2:
            continue
        claims = [claim for claims in by_worker.values() for claim in claims]
        if all(claim.shared for claim in claims):
            continue
        if any(claim.shared or claim.amount is None for claim in claims):
            raise InvariantError(f"{resource} is used by {sorted(by_worker)} at once")
        if sum(claim.amount or 0 for claim in claims) > capacities.get(resource, 1):
            raise InvariantError(f"{resource} is used beyond its capacity by {sorted(by_worker)}")


class Simulation:
    """One run; `latency` is the seconds a message takes in one direction."""

    def __init__(
        self,
        suite: Suite,
        workers: int,
        *,
        order: Order = Order.AUTO,
        policy: Policy | None = None,
        can_pause: bool = True,
        latency: float = 0.0005,
        start_up: float = 0.0,
        faults: Faults | None = None,
        check: bool = True,
    ) -> None:
        self._suite: Final = suite
        self._can_pause: Final = can_pause
        self._latency: Final = latency
        self._start_up: Final = start_up
        self._faults: Final = faults or Faults()
        self._check: Final = check
        self._control: Final = Assignment(
            suite.jobs, capacities=suite.capacities, order=order, expected_workers=workers, policy=policy
        )
        self._machines: Final[dict[str, _Machine]] = {}
        self._events: Final[list[tuple[float, int, str, tuple[object, ...]]]] = []
        self._serial: Final = count()
        self._names: Final = count()
        self._now = 0.0
        self._stopped_at: float | None = None
        self._failed = False
        self._ends: Final[list[tuple[float, str]]] = []
        self._blamed: Final[list[str]] = []
        late = [*self._faults.late, *[0.0] * workers][:workers]
        for delay in late:
            self._post(delay, "join", f"w{next(self._names)}")
        for moment in self._faults.crashes:
            self._post(moment, "crash")

    def run(self) -> Outcome:
        """Run to the end and check that nothing was lost, run twice or run after the stop."""
        handlers = {
            "join": self._join, "crash": self._crash, "receive": self._receive, "end": self._end,
            "completed": self._completed, "failed": self._failure, "gone": self._gone, "stop": self._stop,
        }  # fmt: skip
        while self._events:
            self._now, _, kind, data = heapq.heappop(self._events)
            handlers[kind](*data)  # type: ignore[operator]
        completed = tuple(key for _, key in self._ends)
        self._check_ends(completed)
        ends = tuple(end for end, _ in self._ends)
        return Outcome(ends, completed, tuple(self._blamed), self._stopped_at is not None)

    def _check_ends(self, completed: Sequence[str]) -> None:
        if len(set(completed)) != len(completed):
            raise InvariantError("a test was completed twice")
        accounted = {*completed, *self._blamed}
        lost_all = not self._faults.replaced and len(self._faults.crashes) > 0 and not self._alive()
        missing = {job.key for job in self._suite.jobs} - accounted
        if missing and self._stopped_at is None and not lost_all:
            raise InvariantError(f"{len(missing)} tests never ran, such as {sorted(missing)[:3]}")

    def _alive(self) -> bool:
        return any(not machine.dead for machine in self._machines.values())

    def _post(self, delay: float, kind: str, *data: object) -> None:
        heapq.heappush(self._events, (self._now + delay, next(self._serial), kind, data))

    # The controller's side.

    def _join(self, name: str) -> None:
        if self._stopped_at is not None:
            return
        self._machines[name] = _Machine(name)
        self._control.add_worker(name, can_pause=self._can_pause)
        self._decide()

    def _completed(self, name: str, key: str | None) -> None:
        if name in self._control.workers:
            self._control.complete(name, key, self._now)
            self._decide()

    def _failure(self) -> None:
        if self._stopped_at is None:
            self._stopped_at = self._now
            self._control.stop()
            for name in list(self._control.workers):
                self._post(self._latency, "stop", name)

    def _gone(self, name: str, reached: bool, crashed: bool, running: Job | None) -> None:
        """`reached` tells whether the worker had got all that was sent: else its next test's gate may seem open."""
        if name not in self._control.workers:
            return
        blamed = self._control.remove_worker(name)
        if crashed and blamed != running and (reached or running is not None):
            raise InvariantError(f"{blamed} was blamed for a crash in {running}")
        if not crashed and blamed is not None and self._stopped_at is None:
            raise InvariantError(f"{blamed} was lost when its worker finished")
        if blamed is not None and self._stopped_at is None:
            if self._faults.rerun_blamed:
                self._control.requeue(blamed)
            else:
                self._blamed.append(blamed.key)
        if crashed and self._faults.replaced:
            self._post(self._start_up, "join", f"w{next(self._names)}")
        self._decide()

    def _decide(self) -> None:
        for send in self._control.step(self._now):
            self._post(self._latency, "receive", send.worker, send.entries, send.shutdown)
        if self._control.finished:
            for name, worker in self._control.workers.items():
                if not worker.closing:
                    self._control.close(name)
                    self._post(self._latency, "receive", name, (), True)

    # The workers' side.

    def _receive(self, name: str, entries: Sequence[Job | None], shutdown: bool) -> None:
        machine = self._machines[name]
        machine.queue.extend(entries)
        machine.shutdown = machine.shutdown or shutdown
        self._advance(machine)

    def _stop(self, name: str) -> None:
        self._machines[name].told_to_stop = True
        self._receive(name, (), True)

    def _advance(self, machine: _Machine) -> None:
        while not machine.dead and machine.running is None:
            if machine.told_to_stop:
                machine.queue.clear()
            if not machine.queue:
                break
            if len(machine.queue) == 1 and not machine.shutdown:
                return
            entry = machine.queue[0]
            if entry is not None:
                self._begin(machine, entry)
                return
            machine.queue.popleft()
            self._leave(machine, (SESSION,))
            self._post(self._latency, "completed", machine.name, None)
        if machine.shutdown and machine.running is None and not machine.dead:
            machine.dead = True
            machine.fixtures.clear()
            self._post(self._latency, "gone", machine.name, True, False, None)

    def _begin(self, machine: _Machine, job: Job) -> None:
        if self._stopped_at is not None and self._now > self._stopped_at + self._latency:
            raise InvariantError(f"{job.key} started after the run was stopped")
        machine.running = job
        seconds = self._suite.truth[job.key]
        for setup in job.setups:
            if setup.scope not in machine.alive:
                machine.alive.add(setup.scope)
                seconds += setup.seconds
        for claim in job.claims:
            if claim.scope:
                machine.fixtures[claim.holder, claim.resource] = claim
        if self._check:
            check_resources(list(self._machines.values()), self._suite.capacities)
        self._post(seconds, "end", machine.name, job)

    def _end(self, name: str, job: Job) -> None:
        machine = self._machines[name]
        if machine.dead:
            return
        machine.queue.popleft()
        machine.running = None
        follower = machine.queue[0] if machine.queue else None
        if follower is not None:
            self._leave(machine, follower.scopes)
        else:
            self._leave(machine, (SESSION,) if machine.queue or not machine.shutdown else ())
        self._ends.append((self._now, job.key))
        if job.key in self._faults.failing:
            self._post(self._latency, "failed")
        self._post(self._latency, "completed", name, job.key)
        self._advance(machine)

    def _leave(self, machine: _Machine, scopes: Sequence[str]) -> None:
        machine.alive = {scope for scope in machine.alive if scope in scopes}
        machine.fixtures = {key: claim for key, claim in machine.fixtures.items() if claim.scope in scopes}

    def _crash(self) -> None:
        machine = next((machine for machine in self._machines.values() if not machine.dead), None)
        if machine is not None:
            machine.dead = True
            running, machine.running = machine.running, None
            machine.fixtures.clear()
            reached = not any(kind == "receive" and data[0] == machine.name for _, _, kind, data in self._events)
            self._post(self._latency, "gone", machine.name, reached, True, running)
