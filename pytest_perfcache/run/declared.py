"""What the user says of a test: the ``perfcache`` marker and the hooks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_perfcache.decide.verify import MARKED
from pytest_perfcache.schedule.jobs import Job
from pytest_perfcache.schedule.meta import ResourceError
from pytest_perfcache.schedule.resources import Ledger
from pytest_perfcache.schedule.xdist_worker import claims_of

if TYPE_CHECKING:
    from pytest_perfcache.trace.inputs import Inputs
    from pytest_perfcache.trace.unit import Unit

_VARIABLE = "env:"
_TAKES = frozenset(("cache", "depends", "env"))


def declare(item: pytest.Item, unit: Unit, inputs: Inputs) -> None:
    """Enter in the unit what markers and hooks say of the test."""
    marked = marked_uncacheable(item)
    if marked:
        unit.spoil(marked)
    for marker in item.iter_markers("perfcache"):
        patterns = [*_texts(marker.kwargs.get("depends", ()))]
        patterns += (_VARIABLE + name for name in _texts(marker.kwargs.get("env", ())))
        _depend(patterns, unit, inputs)
    why = item.config.hook.pytest_perfcache_uncacheable(item=item)
    if why:
        unit.spoil(str(why))
    for more in item.config.hook.pytest_perfcache_depends(item=item):
        _depend(more or (), unit, inputs)


def marked_uncacheable(item: pytest.Item) -> str:
    """The user's own word against caching the test; empty where there is none."""
    markers = item.iter_markers("perfcache")
    return MARKED if any(marker.kwargs.get("cache", True) is False for marker in markers) else ""


def check_markers(items: Iterable[pytest.Item]) -> None:
    """A marker that can not be understood is an error at collection that names the test."""
    for item in items:
        for marker in item.iter_markers("perfcache"):
            unknown = [*map(repr, marker.args), *sorted(marker.kwargs.keys() - _TAKES)]
            if unknown:
                takes = ", ".join(f"{name}=" for name in sorted(_TAKES))
                raise pytest.UsageError(f"{item.nodeid}: the perfcache marker takes {takes}; not {', '.join(unknown)}")


def check_claims(items: Iterable[pytest.Item], capacities: Mapping[str, int]) -> None:
    """A resource that can not be claimed is an error at collection that names the test."""
    ledger = Ledger(capacities)
    for item in items:
        try:
            claims = claims_of(item)
        except ResourceError as error:
            raise pytest.UsageError(str(error)) from None
        excess = ledger.excess(Job(item.nodeid, 0.0, claims=claims)) if claims else None
        if excess:
            raise pytest.UsageError(excess)


def _depend(patterns: Iterable[str], unit: Unit, inputs: Inputs) -> None:
    for pattern in patterns:
        if pattern.startswith(_VARIABLE):
            name = pattern.removeprefix(_VARIABLE)
            inputs.depend_on_variable(unit, name, os.environ.get(name))
        else:
            inputs.depend_on_glob(unit, pattern)


def _texts(value: Any) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value
