"""One part of a run for each machine of a CI matrix: the parts are disjoint and together complete.

Known tests are spread by expected duration, longest first onto the lightest shard; new ones by a hash of
their node id, so that a test that appears moves no other. Shards agree only when they know the same
durations: `ShardPlan.digest` is equal exactly then, and belongs into the header of every shard's run.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_perfcache.schedule.order import block_of, setup_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_perfcache.schedule.jobs import Job

WHOLE: Final = 0.25
"""Tests of one costly set-up stay together up to this share of a shard."""


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The keys of every shard, their expected seconds, and a digest that all shards must share."""

    parts: tuple[frozenset[str], ...]
    seconds: tuple[float, ...]
    digest: str


def plan_shards(jobs: Sequence[Job], total: int) -> ShardPlan:
    """Spread the jobs over `total` shards, whatever order they are given in."""
    parts: list[set[str]] = [set() for _ in range(total)]
    known = sorted((job for job in jobs if not job.is_new), key=lambda job: job.key)
    lightest = [(0.0, index) for index in range(total)]
    for seconds, keys in _blocks(known, total):
        load, index = heapq.heappop(lightest)
        parts[index].update(keys)
        heapq.heappush(lightest, (load + seconds, index))
    for job in jobs:
        if job.is_new:
            parts[place_of_new(job.key, total)].add(job.key)
    loads = sorted((index, load) for load, index in lightest)
    return ShardPlan(tuple(map(frozenset, parts)), tuple(load for _, load in loads), _digest(known, total))


def place_of_new(key: str, total: int) -> int:
    """The shard, from 0, of a test that nothing is known about."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") % total


def _blocks(known: Sequence[Job], total: int) -> list[tuple[float, list[str]]]:
    """What is placed as a whole, as (seconds, keys), the longest first."""
    grouped: defaultdict[str, list[Job]] = defaultdict(list)
    for job in known:
        grouped[f"group {job.group}" if job.group else f"scope {block_of(job)}"].append(job)
    limit = WHOLE * sum(job.seconds for job in known) / total
    blocks: list[tuple[float, list[str]]] = []
    for name, members in grouped.items():
        seconds = sum(job.seconds for job in members) + setup_seconds(members[0])
        if name.startswith("group ") or (name != "scope " and seconds <= limit):
            blocks.append((seconds, [job.key for job in members]))
        else:
            blocks += [(job.seconds, [job.key]) for job in members]
    return sorted(blocks, key=lambda block: (-block[0], block[1]))


def _digest(known: Sequence[Job], total: int) -> str:
    lines = [f"{total}", *(f"{job.key}\0{job.seconds!r}\0{block_of(job)}\0{job.group}" for job in known)]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()
