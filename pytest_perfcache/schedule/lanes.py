"""Pending jobs in lanes: those that the same worker could run for the same reasons lie together."""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_perfcache.schedule.jobs import SESSION, Claim, Job, Order
from pytest_perfcache.schedule.order import Rank, rank, sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_perfcache.schedule.resources import Ledger

STICKY_SECONDS: Final = 0.02
"""A shared set-up cheaper than this is repeated rather than respected."""

Place = tuple[tuple[float, ...], int]
"""Sort key and rank of arrival of a job."""


@dataclass(frozen=True, slots=True)
class LaneKey:
    """What the jobs of a lane have in common; `home` is a scope whose set-up they share."""

    rank: Rank
    claims: tuple[Claim, ...]
    group: str
    home: str
    alone: bool


@dataclass(slots=True)
class Lane:
    """Jobs of one key, sorted by what comes first; `setup` is the cost of `home` in seconds."""

    key: LaneKey
    setup: float
    total: float = 0.0
    _entries: list[tuple[Place, Job]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Job]:
        return (job for _, job in self._entries)

    @property
    def place(self) -> Place:
        """Where the first job stands among those of all lanes."""
        return self._entries[0][0]

    @property
    def first(self) -> Job:
        """What the order asks for next."""
        return self._entries[0][1]

    @property
    def last(self) -> Job:
        """What the order asks for last, the longest in `Order.AUTO`; of equals the first that arrived."""
        key, _ = self._entries[-1][0]
        return self._entries[bisect_left(self._entries, (key, -1), key=_place_of)][1]

    def largest_within(self, seconds: float) -> Job:
        """The longest job of at most so many seconds, else the shortest (lanes sorted by duration)."""
        index = bisect_right(self._entries, seconds, key=lambda entry: entry[1].seconds)
        return self._entries[max(0, index - 1)][1]

    def add(self, place: Place, job: Job) -> None:
        """Put a job in its place."""
        insort(self._entries, (place, job), key=_place_of)
        self.total += job.seconds

    def fill(self, entries: Iterable[tuple[Place, Job]]) -> None:
        """Replace the jobs of the lane."""
        self._entries = sorted(entries, key=_place_of)
        self.total = sum(job.seconds for _, job in self._entries)

    def remove(self, place: Place) -> None:
        """Take out the job that was added in this place."""
        _, job = self._entries.pop(bisect_left(self._entries, place, key=_place_of))
        self.total -= job.seconds


class Pending:
    """All jobs not yet handed out, by lane, with the load that remains on each resource."""

    def __init__(self, ledger: Ledger, order: Order = Order.AUTO) -> None:
        self.order: Final = order
        self.loads: Final[defaultdict[str, float]] = defaultdict(float)
        self.total = 0.0
        self.alone = 0
        self._ledger: Final = ledger
        self._lanes: Final[dict[LaneKey, Lane]] = {}
        self._places: Final[dict[str, Place]] = {}
        self._arrivals: Final[dict[str, int]] = {}
        self._homes: Final[defaultdict[str, set[LaneKey]]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[Job]:
        return (job for lane in self._lanes.values() for job in lane)

    @property
    def ever(self) -> int:
        """How many jobs there have been."""
        return len(self._arrivals)

    @property
    def lanes(self) -> Iterable[Lane]:
        """The lanes that have jobs."""
        return self._lanes.values()

    def at_home(self, home: str) -> list[Lane]:
        """The lanes that share the set-up of a scope, what is likely to fail first."""
        keys = self._homes.get(home, set()) if home else set()
        return sorted((self._lanes[key] for key in keys), key=lambda lane: lane.place)

    def extend(self, jobs: Iterable[Job]) -> None:
        """Add the jobs of one collection, in its order."""
        fresh: defaultdict[LaneKey, list[tuple[Place, Job]]] = defaultdict(list)
        for job in jobs:
            if (key := lane_key(job)) in self._lanes:
                self.add(job)
            else:
                fresh[key].append((self._register(job), job))
        for key, entries in fresh.items():
            self._lane(key, entries[0][1]).fill(entries)

    def add(self, job: Job) -> None:
        """Add one job, or put it back."""
        self._lane(lane_key(job), job).add(self._register(job), job)

    def take(self, job: Job) -> None:
        """Remove a job that is handed out."""
        key = lane_key(job)
        lane = self._lanes[key]
        lane.remove(self._places.pop(job.key))
        if not lane:
            del self._lanes[key]
            self._homes[key.home].discard(key)
        self._count(job, -1)

    def chain(self, lane: Lane) -> float:
        """Seconds that must run one after another before what this lane holds up is through."""
        loads = (self.loads[claim.resource] for claim in lane.key.claims if not claim.shared)
        chain = max(loads, default=0.0)
        return max(chain, lane.total) if lane.key.group else chain

    def _lane(self, key: LaneKey, job: Job) -> Lane:
        if key not in self._lanes:
            self._lanes[key] = Lane(key, setup=home_of(job)[1])
            self._homes[key.home].add(key)
        return self._lanes[key]

    def _register(self, job: Job) -> Place:
        arrival = self._arrivals.setdefault(job.key, len(self._arrivals))
        key = sort_key(job, self.order)
        if self.order is Order.AUTO and (inner := _inner_scopes(job)):
            key = (key[0], float(zlib.crc32("\0".join(inner).encode())), *key[1:])
        self._places[job.key] = (key, arrival)
        self._count(job, 1)
        return key, arrival

    def _count(self, job: Job, sign: int) -> None:
        self.total += sign * job.seconds
        self.alone += sign * job.alone
        for claim in job.claims:
            self.loads[claim.resource] += sign * job.seconds * self._ledger.share(claim)


def home_of(job: Job) -> tuple[str, float]:
    """The widest scope below the session whose set-up is worth sharing, and its cost in seconds."""
    costs: defaultdict[str, float] = defaultdict(float)
    for setup in job.setups:
        costs[setup.scope] += setup.seconds
    for scope in job.scopes:
        if scope != SESSION and costs.get(scope, 0.0) >= STICKY_SECONDS:
            return scope, costs[scope]
    return "", 0.0


def lane_key(job: Job) -> LaneKey:
    """The lane a job belongs to."""
    return LaneKey(rank(job), job.claims, job.group, home_of(job)[0], job.alone)


def _inner_scopes(job: Job) -> tuple[str, ...]:
    costly = tuple(setup.scope for setup in job.setups if setup.seconds >= STICKY_SECONDS)
    return costly if len(costly) > 1 else ()


def _place_of(entry: tuple[Place, Job]) -> Place:
    return entry[0]
