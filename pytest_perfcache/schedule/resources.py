"""Who holds which resource: all of a test's claims together, or none.

The unit that holds is the worker, which runs one test at a time: what two of its tests both claim is
counted once, what a living fixture claims is counted beside them. Uses of different workers agree when
both only read, or when both take a counted part and the parts fit into the capacity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_perfcache.schedule.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_perfcache.schedule.jobs import Claim

DEFAULT_CAPACITY: Final = 1


class Use(NamedTuple):
    """How one worker uses one resource: reading, a counted part, or all of it."""

    reads: bool = False
    amount: int = 0
    whole: bool = False

    def agrees_with(self, other: Use, capacity: int) -> bool:
        """Whether two workers may use the resource like this at the same time."""
        if self.whole or other.whole or self.reads != other.reads:
            return False
        return self.reads or self.amount + other.amount <= capacity

    def covers(self, other: Use) -> bool:
        """Whether who uses the resource like this may use it like the other, too."""
        return self.whole or (not other.whole and self.reads >= other.reads and self.amount >= other.amount)


class _Holding:
    """The claims of one worker: of its queued tests in order, and of fixtures still alive."""

    def __init__(self) -> None:
        self.queued: list[Job] = []
        self.alive: dict[tuple[str, str], Claim] = {}


class Ledger:
    """Claims of all workers against the capacities; a resource without one has capacity 1."""

    def __init__(self, capacities: Mapping[str, int] | None = None) -> None:
        self._capacities: Final = dict(capacities or {})
        self._holdings: Final[dict[str, _Holding]] = {}
        self._uses: Final[dict[str, dict[str, Use]]] = {}
        self._queued: Final[dict[str, int]] = {}
        self._alone: str | None = None

    def capacity(self, resource: str) -> int:
        """Units of a resource."""
        return self._capacities.get(resource, DEFAULT_CAPACITY)

    def share(self, claim: Claim) -> float:
        """The part of a resource that a claim keeps from others, 0 for a reader to 1 for all of it."""
        if claim.shared:
            return 0.0
        return 1.0 if claim.amount is None else claim.amount / self.capacity(claim.resource)

    def excess(self, job: Job) -> str | None:
        """A sentence when the job asks for more than exists, else None."""
        for resource, use in _uses([job], []).items():
            if use.amount > self.capacity(resource):
                return f"{job.key} asks for {use.amount} of {resource!r}, there are {self.capacity(resource)}"
        return None

    def can_acquire(self, worker: str, job: Job) -> bool:
        """Whether all claims of the job fit beside what the other workers hold."""
        if not self._fits_alone(worker, job):
            return False
        if not job.claims:
            return True
        holding = self._holdings.get(worker, _Holding())
        wanted = _uses([*holding.queued, job], holding.alive.values())
        named = {claim.resource for claim in job.claims}
        return all(self._agrees(worker, resource, wanted[resource]) for resource in named)

    def acquire(self, worker: str, job: Job) -> bool:
        """Take all claims of the job for a worker at the end of its queue, or none."""
        if not self.can_acquire(worker, job):
            return False
        self._holdings.setdefault(worker, _Holding()).queued.append(job)
        self._recount(worker)
        if job.alone:
            self._alone = worker
        return True

    def release(self, worker: str, job: Job, next_scopes: Sequence[str]) -> None:
        """A job is over and torn down; fixtures in the scopes of the worker's next test live on.

        `next_scopes` are the scopes of what the worker was told to run next: empty at its shutdown.
        """
        holding = self._holdings[worker]
        holding.queued.remove(job)
        for claim in job.claims:
            if claim.scope:
                holding.alive[claim.holder, claim.resource] = claim
        holding.alive = {key: claim for key, claim in holding.alive.items() if claim.scope in next_scopes}
        self._recount(worker)
        if self._alone == worker:
            self._alone = worker if any(queued.alone for queued in holding.queued) else None

    def drop(self, worker: str) -> None:
        """The worker is gone, with all it held."""
        self._holdings.pop(worker, None)
        self._uses.pop(worker, None)
        self._queued.pop(worker, None)
        if self._alone == worker:
            self._alone = None

    def uses(self, worker: str) -> Mapping[str, Use]:
        """What a worker uses now, by resource."""
        return self._uses.get(worker, {})

    def _fits_alone(self, worker: str, job: Job) -> bool:
        if job.alone:
            return not self._queued or self._queued.keys() == {worker}
        return self._alone in (None, worker)

    def _agrees(self, worker: str, resource: str, wanted: Use) -> bool:
        """Whether the use fits; what nobody else uses is granted, as a run in one process would."""
        others = [uses[resource] for name, uses in self._uses.items() if name != worker and resource in uses]
        capacity = self.capacity(resource)
        if not all(wanted.agrees_with(use, capacity) for use in others):
            return False
        return not others or wanted.amount + sum(use.amount for use in others) <= capacity

    def _recount(self, worker: str) -> None:
        holding = self._holdings[worker]
        self._uses[worker] = _uses(holding.queued, holding.alive.values())
        if holding.queued:
            self._queued[worker] = len(holding.queued)
        else:
            self._queued.pop(worker, None)


def uses_of(claims: Iterable[Claim], alive: Iterable[Claim] = ()) -> dict[str, Use]:
    """How a process uses each resource that runs a test of these claims while these fixtures live."""
    return _uses([Job("", 0.0, claims=tuple(claims))], alive)


def _uses(queued: Iterable[Job], alive: Iterable[Claim]) -> dict[str, Use]:
    """Join the claims of one worker's tests and living fixtures, by resource."""
    fixtures = {(claim.holder, claim.resource): claim for claim in alive}
    reads: set[str] = set()
    whole: set[str] = set()
    own: dict[str, int] = {}
    for job in queued:
        amounts: dict[str, int] = {}
        for claim in job.claims:
            if claim.scope:
                fixtures[claim.holder, claim.resource] = claim
            else:
                _note(claim, reads, whole, amounts)
        for resource, amount in amounts.items():
            own[resource] = max(own.get(resource, 0), amount)
    for claim in fixtures.values():
        _note(claim, reads, whole, own)
    named = reads | whole | own.keys()
    return {
        resource: Use(
            reads=resource in reads,
            amount=own.get(resource, 0),
            whole=resource in whole or (resource in reads and own.get(resource, 0) > 0),
        )
        for resource in named
    }


def _note(claim: Claim, reads: set[str], whole: set[str], amounts: dict[str, int]) -> None:
    if claim.shared:
        reads.add(claim.resource)
    elif claim.amount is None:
        whole.add(claim.resource)
    else:
        amounts[claim.resource] = amounts.get(claim.resource, 0) + claim.amount
