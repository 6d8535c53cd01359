"""The least time a set of jobs can take: the yardstick of planning and of the report."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_perfcache.schedule.jobs import SESSION, Job
from pytest_perfcache.schedule.resources import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Load:
    """Expected seconds: of all tests, of shared set-up, of what runs alone, of what can not be split."""

    tests: float
    setups: float
    session_setups: float
    alone: float
    longest: float
    chain: float

    @property
    def serial(self) -> float:
        """Seconds in one process."""
        return self.tests + self.setups + self.session_setups

    def makespan(self, workers: float) -> float:
        """Seconds with so many workers that are already up, every worker paying for session fixtures.

        A fraction of a worker stands for cores that are shared.
        """
        spread = (self.tests + self.setups - self.alone) / workers
        return self.session_setups + max(self.alone + spread, self.longest, self.chain)


def load_of(jobs: Iterable[Job], capacities: Mapping[str, int] | None = None) -> Load:
    """Sum up the jobs; a group of one worker is a chain like an exclusive resource."""
    ledger = Ledger(capacities)
    chains: defaultdict[tuple[str, str], float] = defaultdict(float)
    setups: dict[str, float] = {}
    tests = alone = longest = 0.0
    for job in jobs:
        tests += job.seconds
        alone += job.seconds if job.alone else 0.0
        longest = max(longest, job.seconds + sum(s.seconds for s in job.setups if s.scope != SESSION))
        for setup in job.setups:
            setups[setup.scope] = max(setups.get(setup.scope, 0.0), setup.seconds)
        if job.group:
            chains["group", job.group] += job.seconds
        for claim in job.claims:
            chains["resource", claim.resource] += job.seconds * ledger.share(claim)
    session = setups.pop(SESSION, 0.0)
    chain = max(chains.values(), default=0.0)
    return Load(tests, sum(setups.values()), session, alone, longest, chain)
