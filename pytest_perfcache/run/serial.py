"""The order of a run in one process, without tearing shared fixtures apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Final

import pytest

from pytest_perfcache.run.describing import Knowledge
from pytest_perfcache.schedule.jobs import Job, Order, Setup
from pytest_perfcache.schedule.order import serial_order
from pytest_perfcache.schedule.xdist_worker import meta_of

_WIDE: Final = frozenset(("class", "module", "package", "session"))
_SWITCH_SECONDS: Final = 0.02
"""What going to another module is taken to cost: enough for tests of one module to stay together where
nothing is gained by parting them, which also keeps the terminal's lines readable."""


def arrange(
    items: Sequence[pytest.Item], knowledge: Knowledge, order: Order, config: pytest.Config
) -> list[pytest.Item]:
    """Modules whose tests share a fixture of a class or module stay whole, in the order of collection.

    Nothing moves where the user asked for an order (``--ff``, ``--nf``, ``--sw``), where nothing is known of any test,
    or where a wider fixture is parametrized, since pytest groups tests by its parameters across modules.
    """
    asked = any(getattr(config.option, name, False) for name in ("failedfirst", "newfirst", "stepwise"))
    known = any(knowledge.knows(item.nodeid) for item in items)
    if asked or not known or order is Order.NONE or any(map(_has_wide_parameters, items)):
        return list(items)
    chunks = list(_chunks(items))
    described = iter(knowledge.describe([meta_of(item) for chunk in chunks for item in chunk]))
    jobs = [_job_of_chunk(str(at), list(islice(described, len(chunk)))) for at, chunk in enumerate(chunks)]
    return [item for job in serial_order(jobs, order) for item in chunks[int(job.key)]]


def _chunks(items: Sequence[pytest.Item]) -> Iterator[list[pytest.Item]]:
    """What may not be parted, in the order of collection."""
    for _, group in groupby(items, key=lambda item: item.nodeid.partition("::")[0]):
        module = list(group)
        if any(map(_shares, module)):
            yield module
        else:
            yield from ([item] for item in module)


def _job_of_chunk(key: str, jobs: Sequence[Job]) -> Job:
    first = jobs[0]
    wider = {setup for job in jobs for setup in job.setups if not setup.scope.startswith(first.file)}
    own = {Setup(first.file, _SWITCH_SECONDS)} if len(jobs) == 1 and first.file in first.scopes else set()
    return first._replace(
        key=key,
        seconds=sum(job.seconds for job in jobs),
        setups=tuple(sorted(wider | own, key=lambda setup: setup.scope)),
        failed_last=any(job.failed_last for job in jobs),
        is_new=any(job.is_new for job in jobs),
        changed=any(job.changed for job in jobs),
    )


def _definitions(item: pytest.Item) -> list[pytest.FixtureDef[object]]:
    # The names are public, what they stand for is not; without it the order stays as it is.
    info = getattr(item, "_fixtureinfo", None)
    return [found[-1] for found in info.name2fixturedefs.values() if found] if info is not None else []


def _shares(item: pytest.Item) -> bool:
    return any(definition.scope in ("class", "module") for definition in _definitions(item))


def _has_wide_parameters(item: pytest.Item) -> bool:
    return any(definition.scope in _WIDE and definition.params for definition in _definitions(item))
