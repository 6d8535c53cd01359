"""``--perfcache-shard``: leaves one part of what was collected, the same in every process of the run.

Shards that run one after the other on one store must not see what the ones before them learnt: the durations that
a split is made of are kept until each shard has run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from pytest_perfcache.run.describing import Knowledge
from pytest_perfcache.run.telling import TellingPlugin
from pytest_perfcache.schedule.shards import plan_shards
from pytest_perfcache.schedule.xdist_worker import meta_of
from pytest_perfcache.settings import Shard
from pytest_perfcache.store.protocol import Store

SHARD: Final = "perfcache_shard"
_TOLD: Final = "perfcache_shard_told"
_PATIENCE: Final = 3
"""Runs for each shard after which a split is made anew, though some shard never ran."""


@dataclass(frozen=True, slots=True)
class Split:
    """What the shards of one round agree on: expected seconds by node id, and which of them have run."""

    seconds: Mapping[str, float]
    ran: tuple[int, ...] = ()

    @classmethod
    def current(cls, store: Store, total: int, seconds: Mapping[str, float]) -> Split:
        """The one that is under way, or a new one; the same for every shard that starts from this store."""
        known = _read(store, total)
        under_way = known is not None and len(set(known.ran)) < total and len(known.ran) < _PATIENCE * total
        return known if known is not None and under_way else cls(dict(seconds))

    def save(self, store: Store, shard: Shard) -> None:
        """Remember that a shard has run."""
        document = {"seconds": dict(self.seconds), "ran": [*self.ran, shard.number]}
        store.set(_key(shard.total), json.dumps(document).encode())


def _key(total: int) -> str:
    return f"shards/{total}"


def _read(store: Store, total: int) -> Split | None:
    try:
        document = json.loads(store.get(_key(total)) or b"null")
        return Split({str(k): float(v) for k, v in document["seconds"].items()}, tuple(document["ran"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


class ShardPlugin:
    """In a process that collects: deselects what other shards run."""

    def __init__(self, shard: Shard, seconds: Mapping[str, float]) -> None:
        self._shard = shard
        self._knowledge = Knowledge(seconds)
        self.told = ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """After every other choice; tests with one node id go together."""
        total, index = self._shard.total, self._shard.number
        jobs = self._knowledge.describe([meta_of(item) for item in {item.nodeid: item for item in items}.values()])
        plan = plan_shards(jobs, total)
        mine = plan.parts[index - 1]
        left_out = [item for item in items if item.nodeid not in mine]
        collected = len(items)
        items[:] = [item for item in items if item.nodeid in mine]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        self.told = f"shard {index}/{total} of split {plan.digest}: {len(items)} of {collected} tests"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_TOLD] = self.told


class ShardControllerPlugin:
    """In the process that talks to the user: keeps the split, hands it to workers, and tells its digest."""

    def __init__(self, shard: Shard, split: Split, store: Store, telling: TellingPlugin) -> None:
        self._shard = shard
        self._split = split
        self._store = store
        self._telling = telling
        self.here: ShardPlugin | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[SHARD] = [self._shard.number, self._shard.total, dict(self._split.seconds)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._tell([(getattr(node, "workeroutput", None) or {}).get(_TOLD, "")])

    def pytest_sessionfinish(self) -> None:
        self._split.save(self._store, self._shard)
        self._tell([self.here.told] if self.here is not None else [])

    def _tell(self, lines: Iterable[str]) -> None:
        self._telling.notes += (line for line in lines if line and line not in self._telling.notes)
