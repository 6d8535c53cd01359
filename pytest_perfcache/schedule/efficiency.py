"""What became of the workers' time: a pure account from stamps, in seconds of one clock."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class WorkerSpan:
    """A worker's life: when its start was asked for, when it was up, had collected, and was gone."""

    name: str
    spawned: float
    ready: float
    collected: float
    gone: float


@dataclass(frozen=True, slots=True)
class TestSpan:
    """One test with its set-up and teardown, and the exclusive resources it held."""

    __test__ = False

    key: str
    worker: str
    start: float
    end: float
    resources: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Wait:
    """A worker that had nothing to run although tests were left: they needed these resources."""

    worker: str
    start: float
    end: float
    resources: frozenset[str]


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Shares of the workers' time from the first start to the last end; all but `wall` sum over workers.

    `efficiency` is busy time over the time after collection, start-up set apart; `tail` is idle time after
    a worker's last test; `gaps` are short waits between tests; `waiting` is by resource. `one_more` is the
    number of seconds that one more worker would have saved at best.
    """

    wall: float
    busy: float
    start_up: float
    collection: float
    gaps: float
    tail: float
    waiting: Mapping[str, float]
    efficiency: float
    overall: float
    critical_path: tuple[str, ...]
    critical_seconds: float
    one_more: float
    by_worker: Mapping[str, float] = field(default_factory=dict)


def account(workers: Sequence[WorkerSpan], tests: Sequence[TestSpan], waits: Sequence[Wait] = ()) -> Efficiency | None:
    """The account of one run; None when nothing ran on workers."""
    if not workers or not tests:
        return None
    begin = min(worker.spawned for worker in workers)
    end = max(test.end for test in tests)
    own: defaultdict[str, list[TestSpan]] = defaultdict(list)
    for test in tests:
        own[test.worker].append(test)
    busy = sum(test.seconds for test in tests)
    start_up = sum(min(worker.ready, end) - min(worker.spawned, end) for worker in workers)
    collection = sum(min(worker.collected, end) - min(worker.ready, end) for worker in workers)
    tails = {worker.name: _tail(worker, own[worker.name], end) for worker in workers}
    available = sum(max(0.0, min(worker.gone, end) - min(worker.collected, end)) for worker in workers)
    early_ends = sum(max(0.0, end - worker.gone) for worker in workers)
    waiting = _waiting(waits)
    lost = available + early_ends - busy - sum(tails.values()) - sum(waiting.values())
    path = critical_path(tests)
    after_start = available + early_ends
    return Efficiency(
        wall=end - begin,
        busy=busy,
        start_up=start_up,
        collection=collection,
        gaps=max(0.0, lost),
        tail=sum(tails.values()),
        waiting=waiting,
        efficiency=min(1.0, busy / after_start) if after_start > 0 else 1.0,
        overall=busy / (len(workers) * (end - begin)) if end > begin else 1.0,
        critical_path=tuple(test.key for test in path),
        critical_seconds=sum(test.seconds for test in path),
        one_more=_one_more(tests, len(workers)),
        by_worker={name: sum(test.seconds for test in spans) for name, spans in sorted(own.items())},
    )


def critical_path(tests: Sequence[TestSpan]) -> list[TestSpan]:
    """The tests that fixed the end, first to last: the longest chain of one exclusive resource.

    Without resources that is the longest test alone: tests that merely share a worker could run elsewhere.
    """
    chains: defaultdict[str, list[TestSpan]] = defaultdict(list)
    for test in tests:
        for resource in test.resources:
            chains[resource].append(test)
    longest = max(tests, key=lambda test: test.seconds)
    candidates = [[longest], *chains.values()]
    chain = max(candidates, key=lambda spans: sum(test.seconds for test in spans))
    return sorted(chain, key=lambda test: test.start)


def _tail(worker: WorkerSpan, own: Sequence[TestSpan], end: float) -> float:
    last = max((test.end for test in own), default=min(worker.collected, end))
    return end - last


def _waiting(waits: Sequence[Wait]) -> dict[str, float]:
    """Seconds by resource; a wait for several counts in equal parts."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for wait in waits:
        for resource in wait.resources:
            seconds[resource] += (wait.end - wait.start) / len(wait.resources)
    return dict(sorted(seconds.items()))


def _one_more(tests: Sequence[TestSpan], workers: int) -> float:
    path = sum(test.seconds for test in critical_path(tests))
    busy = sum(test.seconds for test in tests)
    return max(0.0, max(busy / workers, path) - max(busy / (workers + 1), path))
