"""What starting, collecting and shared set-up cost in a process: measured there, and learnt from run to run."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from pytest_perfcache.schedule.workers import Costs
    from pytest_perfcache.store.protocol import Store

_KEY: Final = "costs"
_SETUPS: Final = "setups"
_BETWEEN: Final = "\t"
"""Between the name of a fixture and the scope it lives in."""

_NEWEST_SHARE: Final = 0.3
_LEAST_SECONDS: Final = 0.2
"""Less time in tests says nothing of how much of it is computation."""


class CostMeter:
    """A plugin object for a process that collects and runs tests. All seconds but ``_wall`` are processor time."""

    def __init__(self, *, worker: bool) -> None:
        self._worker = worker
        self._measured: dict[str, float] = {}
        self._wall = self._busy = 0.0
        self._item: pytest.Item | None = None
        self.setups: dict[str, float] = {}
        """Wall seconds by fixture and scope, see :func:`read_setups`."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, Any, Any]:
        started = _processor_seconds()
        if self._worker:
            self._measured["start_up"] = started
        try:
            return (yield)
        finally:
            name = "collect" if self._worker else "serial_collect"
            self._measured[name] = _processor_seconds() - started

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self._item = item
        wall = time.perf_counter()
        try:
            return (yield)
        finally:
            self._wall += time.perf_counter() - wall

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, Any, Any]:
        """Waiting for the next test takes no processor time, so that the whole loop is measured at once."""
        started = _processor_seconds()
        try:
            return (yield)
        finally:
            self._busy = _processor_seconds() - started

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        if fixturedef.scope == "function" or self._item is None:
            return (yield)
        from pytest_perfcache.schedule.xdist_worker import shared_fixtures

        scope = dict(shared_fixtures(self._item)).get(fixturedef.argname)
        if scope is None:
            return (yield)
        started = time.perf_counter()
        try:
            return (yield)
        finally:
            self.setups[f"{fixturedef.argname}{_BETWEEN}{scope}"] = time.perf_counter() - started

    def measured(self) -> dict[str, float]:
        """By the names of :class:`Costs`; only what this process can tell."""
        found = dict(self._measured)
        if self._wall >= _LEAST_SECONDS:
            found["computing"] = min(1.0, self._busy / self._wall)
        if self._worker:
            found["memory"] = float(_peak_memory())
        return found


def read_costs(store: Store) -> Costs:
    """What was learnt; the defaults for what was not, or can not be read."""
    from dataclasses import asdict

    from pytest_perfcache.schedule.workers import Costs

    known = _read(store, _KEY)
    defaults = asdict(Costs())
    return Costs(**{name: type(default)(known.get(name, default)) for name, default in defaults.items()})


def learn_costs(store: Store, measured: Iterable[Mapping[str, float]]) -> None:
    """By the names of :class:`Costs`."""
    _learn(store, _KEY, measured)


def read_setups(store: Store) -> dict[tuple[str, str], float]:
    """Seconds that the set-up of a shared fixture took, by fixture and scope."""
    split = ((name.partition(_BETWEEN), seconds) for name, seconds in _read(store, _SETUPS).items())
    return {(fixture, scope): seconds for (fixture, _, scope), seconds in split}


def learn_setups(store: Store, measured: Iterable[Mapping[str, float]]) -> None:
    """What :attr:`CostMeter.setups` of each process holds."""
    _learn(store, _SETUPS, measured)


def _learn(store: Store, key: str, measured: Iterable[Mapping[str, float]]) -> None:
    """Let each measurement move what is known by some part: an exponentially weighted mean."""
    known = _read(store, key)
    before = dict(known)
    for one in measured:
        for name, value in one.items():
            known[name] = known.get(name, value) + _NEWEST_SHARE * (value - known.get(name, value))
    if known != before:
        store.set(key, json.dumps(known).encode())


def _read(store: Store, key: str) -> dict[str, float]:
    """Anything that can not be read is as good as nothing."""
    try:
        return {str(name): float(value) for name, value in json.loads(store.get(key) or b"{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _processor_seconds() -> float:
    """Of this process and of the children it waited for."""
    return sum(os.times()[:4])


def _peak_memory() -> int:
    """Bytes that this process took at most."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
