"""Keeps two runs of pytest on one host from using a resource at once: file locks, in each process that runs tests.

The locks follow what the controller's ledger grants a worker: a test's own claims while it runs, those of a fixture
while it lives. Nothing is waited for while something is held, so that two runs can not wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_perfcache.run.config import settings_of
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.telling import TellingPlugin
from pytest_perfcache.schedule.jobs import SESSION, Claim
from pytest_perfcache.schedule.locks import FileLocks, Held, default_directory, release
from pytest_perfcache.schedule.meta import ResourceError
from pytest_perfcache.schedule.resources import Use, uses_of
from pytest_perfcache.schedule.xdist_worker import claims_of, meta_of
from pytest_perfcache.settings import Settings

_WAITED: Final = "perfcache_waited"
_WORTH_TELLING: Final = 0.1
"""Seconds of waiting that are told."""


class LockingPlugin:
    """In a process that runs tests. ``give_up`` ends a wait, so that the end of the run needs no lock."""

    def __init__(self, find: Callable[[], FileLocks], give_up: Callable[[], bool] = lambda: False) -> None:
        self._find = find
        self._give_up = give_up
        self._usable = True
        self._alive: dict[tuple[str, str], Claim] = {}
        self._uses: dict[str, Use] = {}
        self._files: Held = {}
        self.waited: dict[str, float] = {}
        """Seconds by the names of the resources that were waited for."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
        claims = _claims(item) if self._usable else ()
        if claims:
            self._hold(claims)
            self._alive |= {(claim.holder, claim.resource): claim for claim in claims if claim.scope}
        try:
            return (yield)
        finally:
            if self._files:
                self._let_go(nextitem)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
        """A fixture that holds a resource is torn down rather than kept while its user waits for another run."""
        result = yield
        if nextitem is None or not self._alive or not self._usable:
            return result
        alive = self._alive_for(nextitem)
        lacking = self._lacking(uses_of(_claims(nextitem), alive.values()))
        if alive and lacking and not self._take_ahead(lacking):
            session_wide = any(claim.scope == SESSION for claim in alive.values())
            # There is no public way to tear down early, and waiting with a living fixture could last forever.
            item.session._setupstate.teardown_exact(None if session_wide else item.session)  # type: ignore[arg-type]
            self._alive.clear()
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._keep({})
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_WAITED] = self.waited

    def _hold(self, claims: tuple[Claim, ...]) -> None:
        lacking = self._lacking(uses_of(claims, self._alive.values()))
        for resource in lacking:
            release(self._files.pop(resource, ()))
        if lacking and not self._take(lacking, lambda: True):
            started = time.perf_counter()
            self._take(lacking, self._give_up)
            names = ", ".join(sorted(lacking))
            self.waited[names] = self.waited.get(names, 0.0) + time.perf_counter() - started

    def _take_ahead(self, lacking: Mapping[str, Use]) -> bool:
        return not any(resource in self._files for resource in lacking) and self._take(lacking, lambda: True)

    def _take(self, uses: Mapping[str, Use], give_up: Callable[[], bool]) -> bool:
        """Whether one may go on: with the locks, or because none are to be had on this host."""
        files: Held | None = {}
        self._usable = False
        with harmless("does not keep other runs on this host from what tests claim"):
            files = self._locks.take(uses, give_up=give_up)
            self._usable = True
        if files is None:
            return False
        self._files |= files
        self._uses |= uses
        return True

    @cached_property
    def _locks(self) -> FileLocks:
        return self._find()

    def _lacking(self, wanted: Mapping[str, Use]) -> dict[str, Use]:
        return {
            resource: use
            for resource, use in wanted.items()
            if resource not in self._files or not self._uses[resource].covers(use)
        }

    def _let_go(self, nextitem: pytest.Item | None) -> None:
        """Keep what fixtures hold on, and what was taken ahead for a test that shares them."""
        alive = self._alive_for(nextitem)
        self._alive = alive
        claims = _claims(nextitem) if alive and nextitem is not None else ()
        self._keep(uses_of(claims, alive.values()))

    def _keep(self, uses: Mapping[str, Use]) -> None:
        for resource, files in list(self._files.items()):
            use = uses.get(resource)
            if use is None:
                release(files)
                del self._files[resource], self._uses[resource]
            elif use != self._uses[resource] and self._uses[resource].covers(use):
                self._files[resource] = self._locks.shrink(files, use)
                self._uses[resource] = use

    def _alive_for(self, nextitem: pytest.Item | None) -> dict[tuple[str, str], Claim]:
        scopes = _scopes(nextitem) if nextitem is not None and self._alive else ()
        return {key: claim for key, claim in self._alive.items() if claim.scope in scopes}


def keep_apart(
    config: pytest.Config, telling: TellingPlugin | None = None, give_up: Callable[[], bool] = lambda: False
) -> None:
    """Let this process hold locks for what its tests claim. Call after everything else that watches tests."""
    settings = settings_of(config)
    plugin = LockingPlugin(lambda: FileLocks(lock_directory(settings), settings.resources), give_up)
    config.pluginmanager.register(plugin, "perfcache-locking")
    if telling is not None:
        config.pluginmanager.register(WaitsPlugin(telling, plugin), "perfcache-waits")


def lock_directory(settings: Settings) -> Path:
    """Where runs on this host meet; made where it is not there. Raises OSError or LockError."""
    if settings.locks is None:
        return default_directory()
    settings.locks.mkdir(parents=True, exist_ok=True)
    return settings.locks


class WaitsPlugin:
    """In the process that talks to the user: tells how long other runs were waited for."""

    def __init__(self, telling: TellingPlugin, here: LockingPlugin | None = None) -> None:
        self._telling = telling
        self._here = here
        self._waited: dict[str, float] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._add((getattr(node, "workeroutput", None) or {}).get(_WAITED, {}))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._add(self._here.waited if self._here is not None else {})
        self._telling.notes += (
            f"waited {seconds:.1f} s for other runs on this host that held {names}"
            for names, seconds in sorted(self._waited.items())
            if seconds >= _WORTH_TELLING
        )

    def _add(self, waited: Mapping[str, float]) -> None:
        for names, seconds in waited.items():
            self._waited[names] = self._waited.get(names, 0.0) + seconds


def _claims(item: pytest.Item) -> tuple[Claim, ...]:
    """Wrong claims end the run elsewhere."""
    try:
        return claims_of(item)
    except ResourceError:
        return ()


def _scopes(item: pytest.Item) -> tuple[str, ...]:
    try:
        return meta_of(item).scopes
    except ResourceError:
        return ()
