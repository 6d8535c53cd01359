"""The value of a test now: quick results first, then what would end last.

The makespan can not be less than the sum over the workers, the longest test, and the heaviest chain of
tests that need one resource. What is *critical* starts at once; the shortest tests fill the first tenth;
then comes the longest processing time first (R. L. Graham, 1969), a chain counting as one test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_perfcache.schedule.jobs import Job, Order
from pytest_perfcache.schedule.lanes import home_of
from pytest_perfcache.schedule.order import Rank, delay_weight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_perfcache.schedule.lanes import Lane, Pending

SHORTEST_QUANTUM: Final = 0.005
LONGEST_QUANTUM: Final = 0.2


@dataclass(frozen=True, slots=True)
class Horizon:
    """What was projected at `seen`: start and end of the run, and how much to commit ahead, in seconds."""

    started: float
    seen: float
    end: float
    quantum: float
    pending: int

    def is_stale(self, now: float, pending: int) -> bool:
        """Whether the pending tests or the time left have changed by some percent."""
        return abs(self.pending - pending) * 50 > self.pending or (now - self.seen) * 50 > self.end - self.seen


@dataclass(frozen=True, slots=True)
class Policy:
    """The constants of the policy, each a share between 0 and 1.

    `critical`: of the time left, from where on a test or chain starts at once; `quick`: of the run, for the
    shortest tests; `filler`: of the tests, kept back from that to fill the end; `committed`: of the time
    left, that a worker is given ahead; `held`: of the time left, that a test may take for another one of its
    set-up to be held behind it; `failed`: of the work left, up to which failed tests come before everything.
    """

    critical: float = 0.85
    quick: float = 0.13
    filler: float = 0.45
    committed: float = 0.02
    held: float = 0.25
    failed: float = 0.5

    def look(self, pending: Pending, running: Sequence[float], workers: int, now: float, started: float) -> Horizon:
        """Project the end from what is pending and the seconds that each worker still runs."""
        longest = max((lane.last.seconds for lane in pending.lanes), default=0.0)
        chain = max((pending.chain(lane) for lane in pending.lanes), default=0.0)
        share = (pending.total + sum(running)) / workers
        ahead = max(share, longest, chain, max(running, default=0.0))
        quantum = min(max(self.committed * ahead, SHORTEST_QUANTUM), LONGEST_QUANTUM)
        return Horizon(started=started, seen=now, end=now + ahead, quantum=quantum, pending=len(pending))

    def offer(
        self, lane: Lane, pending: Pending, horizon: Horizon, now: float, owners: int
    ) -> tuple[Job, tuple[float, ...]]:
        """The job a lane offers to a worker that is not at its home, and its value: the greatest wins."""
        if pending.order is not Order.AUTO:
            key, arrival = lane.place
            return lane.first, (*(-part for part in key), -float(arrival))
        job = lane.first if lane.key.group else lane.last
        weight = max(lane.setup + job.seconds, pending.chain(lane))
        if lane.key.rank is Rank.FAILED and lane.total <= self.failed * pending.total:
            return lane.first, (4.0, -delay_weight(lane.first))
        if weight >= self.critical * (horizon.end - now):
            return job, (3.0, weight)
        if self.is_early(pending, horizon, now):
            urgent = 1.0 if lane.key.rank is Rank.OTHER else 2.0
            return lane.first, (urgent, -delay_weight(lane.first) - lane.setup)
        if lane.key.home:
            weight = max(weight, lane.setup + lane.total / (owners + 1))
        return job, (0.0, weight)

    def at_home(self, lane: Lane, pending: Pending, horizon: Horizon, now: float) -> Job:
        """The job for a worker where the lane's set-up is alive."""
        first = lane.key.group or lane.key.rank is not Rank.OTHER or self.is_early(pending, horizon, now)
        return lane.first if first else lane.last

    def holds_at_home(self, front: Job, horizon: Horizon, now: float) -> bool:
        """Whether a test of the same set-up is held behind this one, rather than the set-up repeated.

        Not behind a test that may outlast the others, unless its set-up is dear.
        """
        return front.seconds <= max(self.held * (horizon.end - now), 10 * home_of(front)[1])

    def is_early(self, pending: Pending, horizon: Horizon, now: float) -> bool:
        """Whether the shortest tests still come first."""
        early = now - horizon.started < self.quick * (horizon.end - horizon.started)
        return early and len(pending) > self.filler * pending.ever
