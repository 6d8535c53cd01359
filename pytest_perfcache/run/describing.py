"""From what was collected, and what the records know of it, to the jobs that the scheduler orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import NamedTuple

from pytest_perfcache.model import History, Outcome, Reason, Verdict
from pytest_perfcache.schedule.estimates import Estimates
from pytest_perfcache.schedule.jobs import Job
from pytest_perfcache.schedule.meta import TestMeta, job_of


class Knowledge(NamedTuple):
    """What earlier runs tell of the tests, by node id. ``seconds``: expected durations."""

    seconds: Mapping[str, float]
    failed: AbstractSet[str] = frozenset()
    """What failed last time, or is flaky."""
    changed: AbstractSet[str] = frozenset()
    setups: Mapping[tuple[str, str], float] = MappingProxyType({})
    """Measured seconds of shared set-up, by fixture and scope."""
    only_marked: bool = False
    """Whether tests that are not marked ``parallel_safe`` run one at a time."""

    @classmethod
    def of(
        cls,
        histories: Mapping[str, History],
        verdicts: Mapping[str, Verdict],
        setups: Mapping[tuple[str, str], float] | None = None,
        *,
        only_marked: bool = False,
    ) -> Knowledge:
        return cls(
            {nodeid: known.duration for nodeid, known in histories.items() if known.duration is not None},
            {nodeid for nodeid, known in histories.items() if known.last is Outcome.FAILED or known.flaky},
            {nodeid for nodeid, verdict in verdicts.items() if verdict.reason is Reason.CHANGED},
            setups or {},
            only_marked,
        )

    def knows(self, nodeid: str) -> bool:
        return nodeid in self.seconds or nodeid in self.failed

    def expected(self, nodeids: Iterable[str]) -> dict[str, float]:
        """Expected seconds by node id; nothing where no test of them is known."""
        named = list(nodeids)
        estimates = Estimates(self.seconds)
        return {nodeid: estimates.seconds(nodeid) for nodeid in named} if any(map(self.knows, named)) else {}

    def describe(self, metas: Sequence[TestMeta]) -> list[Job]:
        """One job a test, in their order."""
        return list(self._jobs(metas, Estimates(self.seconds)))

    def _jobs(self, metas: Iterable[TestMeta], estimates: Estimates) -> Iterable[Job]:
        for meta in metas:
            nodeid = meta.nodeid
            seconds = estimates.seconds(nodeid)
            yield job_of(meta, seconds, setup_seconds=self.setups, only_marked=self.only_marked)._replace(
                failed_last=nodeid in self.failed,
                is_new=not self.knows(nodeid),
                changed=nodeid in self.changed,
            )
