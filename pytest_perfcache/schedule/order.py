"""Which test first: Smith's rule, in classes that a reader can predict.

W. E. Smith, "Various optimizers for single-stage production" (1956): the weighted sum of completion
times is least when jobs are sorted by weight over duration. Weight here is the probability of failure.
"""

from __future__ import annotations

from collections import defaultdict
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from pytest_perfcache.schedule.jobs import SESSION, Job, Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHORTEST: Final = 1e-4
"""Seconds below which durations are not told apart."""

PROBABILITY_NEW: Final = 0.10
PROBABILITY_CHANGED: Final = 0.05
PROBABILITY_OTHER: Final = 0.005

SUSPECT_RATE: Final = 0.02
"""A test that failed in at least this share of its recent runs counts with the suspects."""


class Rank(IntEnum):
    """The classes of `Order.AUTO`: what failed last time, what is likely to fail, the rest."""

    FAILED = 0
    SUSPECT = 1
    OTHER = 2


def rank(job: Job) -> Rank:
    """The class of a job."""
    if job.failed_last:
        return Rank.FAILED
    if job.is_new or job.changed or job.failure_rate >= SUSPECT_RATE:
        return Rank.SUSPECT
    return Rank.OTHER


def failure_probability(job: Job) -> float:
    """The expected probability that the job fails, in (0, 1]; the same for all of `Rank.OTHER`."""
    prior = PROBABILITY_OTHER
    if job.changed:
        prior = PROBABILITY_CHANGED
    if job.is_new:
        prior = PROBABILITY_NEW
    if job.failed_last:
        prior = 0.5
    return prior if job.failure_rate < SUSPECT_RATE else min(1.0, max(prior, job.failure_rate))


def delay_weight(job: Job) -> float:
    """Expected seconds a unit of failure probability costs: Smith's ratio turned over, small first."""
    return max(job.seconds, SHORTEST) / failure_probability(job)


def sort_key(job: Job, order: Order) -> tuple[float, ...]:
    """A key that sorts the jobs of one run; equal keys keep the order of collection."""
    match order:
        case Order.AUTO:
            return (rank(job), delay_weight(job))
        case Order.FAILED:
            return (0.0 if job.failed_last else 1.0,)
        case Order.FASTEST:
            return (max(job.seconds, SHORTEST),)
        case Order.LONGEST:
            return (-job.seconds,)
        case Order.FILE | Order.NONE:
            return ()


def serial_order(jobs: Sequence[Job], order: Order = Order.AUTO) -> list[Job]:
    """The order of a run in one process.

    Tests that share the set-up of a class, module or package stay together, and the whole block is
    placed by its best moment (`_block_prefix`); a failed or suspect test leaves its block only
    when the set-up it would repeat costs less than the block that would delay it.
    """
    if order is Order.NONE:
        return list(jobs)
    if order is Order.FILE:
        first = {file: place for place, file in reversed(list(enumerate(job.file for job in jobs)))}
        return sorted(jobs, key=lambda job: first[job.file])
    if order is not Order.AUTO:
        return _in_blocks(jobs, order)
    early = [job for job in jobs if rank(job) is not Rank.OTHER]
    rest = [job for job in jobs if rank(job) is Rank.OTHER]
    kept: defaultdict[str, list[Job]] = defaultdict(list)
    for job in rest:
        kept[block_of(job)].append(job)
    leaves = {job.key for job in early if _splitting_pays(job, kept[block_of(job)])}
    first_out = [job for job in early if job.key in leaves]
    with_block = [job for job in early if job.key not in leaves]
    touched = {block_of(job) for job in with_block if block_of(job)}
    front = first_out + with_block + [job for job in rest if block_of(job) in touched]
    back = [job for job in rest if block_of(job) not in touched]
    return _in_blocks(front, order) + _in_blocks(back, order)


def block_of(job: Job) -> str:
    """The widest scope below the session whose set-up the job shares, or an empty string."""
    shared = {setup.scope for setup in job.setups if setup.seconds > 0 and setup.scope != SESSION}
    return next((scope for scope in job.scopes if scope in shared), "")


def setup_seconds(job: Job) -> float:
    """Seconds of shared set-up the job would pay on a worker that has none of it."""
    return sum(setup.seconds for setup in job.setups if setup.scope != SESSION)


def _splitting_pays(job: Job, block: Iterable[Job]) -> bool:
    return setup_seconds(job) < sum(other.seconds for other in block)


def _in_blocks(jobs: Sequence[Job], order: Order) -> list[Job]:
    """Sort blocks of shared set-up as wholes; a job without one is a block of its own."""
    blocks: defaultdict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        blocks[f"scope {block_of(job)}" if block_of(job) else f"job {job.key}"].append(job)
    ordered = [_in_scopes(block, order) for block in blocks.values()]
    ordered.sort(key=lambda block: _block_key(block, order))
    return [job for block in ordered for job in block]


def _in_scopes(block: list[Job], order: Order) -> list[Job]:
    """Within a block, tests of one inner scope stay together, the best inner scope first."""
    inner: defaultdict[tuple[str, ...], list[Job]] = defaultdict(list)
    for job in block:
        inner[tuple(setup.scope for setup in job.setups)].append(job)
    parts = [sorted(part, key=lambda job: sort_key(job, order)) for part in inner.values()]
    parts.sort(key=lambda part: _block_key(part, order))
    return [job for part in parts for job in part]


def _block_key(block: list[Job], order: Order) -> tuple[float, ...]:
    """The key of a block that must run whole, its jobs already sorted."""
    if order is Order.AUTO:
        return (min(rank(job) for job in block), _block_prefix(block))
    if order is Order.FASTEST:
        return (sum(job.seconds for job in block) / len(block),)
    return min(sort_key(job, order) for job in block)


def _block_prefix(block: list[Job]) -> float:
    """The least ratio of time to probability over the prefixes of a block.

    Sidney's decomposition (1975): chains that may not be torn are sorted by their best prefix.
    """
    seconds = setup_seconds(block[0])
    probability = 0.0
    best = float("inf")
    for job in block:
        seconds += max(job.seconds, SHORTEST)
        probability += failure_probability(job)
        best = min(best, seconds / probability)
    return best
