"""Composition: which parts take part in this process, and how they are joined."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, Final

import pytest

from pytest_perfcache.facts.places import Places
from pytest_perfcache.run.config import distributes, facts_of_run, settings_of
from pytest_perfcache.run.deciding import Circumstances, DecidingPlugin, WorkerDecidingPlugin, plan_everything
from pytest_perfcache.run.faults import PerfcacheWarning, harmless
from pytest_perfcache.run.memory import Memory, open_store
from pytest_perfcache.run.ordering import arrange
from pytest_perfcache.run.recording import RecordingPlugin, Run
from pytest_perfcache.run.results import ResultsPlugin
from pytest_perfcache.run.saving import Harvest
from pytest_perfcache.run.telling import TellingPlugin
from pytest_perfcache.run.verifying import VerifyingPlugin
from pytest_perfcache.run.workers import PLAN, ControllerPlugin, WorkerPlugin
from pytest_perfcache.trace.tracing import Tracing

TRACING: Final = pytest.StashKey[Tracing | None]()


def begin_tracing(config: pytest.Config) -> None:
    """Called before the first conftest file is imported, so that none is missed."""
    known = config.known_args_namespace
    idle = known.help or known.version or known.collectonly or getattr(known, "perfcache_show", None)
    controls = distributes(known) and "PYTEST_XDIST_WORKER" not in os.environ
    if settings_of(config).enabled and not idle and not controls:
        config.stash[TRACING] = Tracing.start(config.rootpath, settings_of(config).dir)


def configure(config: pytest.Config) -> None:
    """Join the parts that this process needs."""
    if not settings_of(config).enabled or config.option.collectonly:
        return
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        _configure_worker(config, worker_input)
    else:
        _configure_controller(config)


def unconfigure(config: pytest.Config) -> None:
    tracing = config.stash.get(TRACING, None)
    if tracing is not None:
        config.stash[TRACING] = None
        tracing.stop()


def _configure_worker(config: pytest.Config, worker_input: dict[str, Any]) -> None:
    deciding = WorkerDecidingPlugin(worker_input.get(PLAN, ()))
    config.pluginmanager.register(deciding, "perfcache-deciding")
    tracing = config.stash.get(TRACING, None)
    if tracing is not None:
        harvest = _record(config, tracing)
        config.pluginmanager.register(
            WorkerPlugin(config, deciding, lambda: harvest().gather_all()), "perfcache-worker"
        )


def _configure_controller(config: pytest.Config) -> None:
    settings = settings_of(config)
    places = Places.of(config.rootpath)
    tracing = config.stash.get(TRACING, None)
    environ = dict(os.environ) if tracing is None else tracing.environ
    store = open_store(settings, lambda text: warnings.warn(PerfcacheWarning(text), stacklevel=2))
    if settings.clear or getattr(config.option, "cacheclear", False):
        store.clear()
    memory = Memory.open(settings, places, facts_of_run(config, environ), environ, store)
    circumstances = Circumstances.of(config, places, now=time.time(), settings=settings)
    results = ResultsPlugin()
    register = config.pluginmanager.register
    register(results, "perfcache-results")
    register(TellingPlugin(config, memory, results), "perfcache-telling")
    if settings.verify:
        register(VerifyingPlugin(memory, results), "perfcache-verifying")
    if distributes(config.option):
        controller = ControllerPlugin(plan_everything(memory.planner, circumstances), results, config)
        register(controller, "perfcache-controller")
        register(SavingPlugin(memory, lambda: controller.fresh), "perfcache-saving")
        return
    register(
        DecidingPlugin(
            memory.planner,
            circumstances,
            places,
            results,
            lambda items: arrange(items, results.verdicts, config),
        ),
        "perfcache-deciding",
    )
    if tracing is not None:
        harvest = _record(config, tracing)
        register(SavingPlugin(memory, lambda: harvest().gather_all()), "perfcache-saving")


class SavingPlugin:
    """Writes what was learnt."""

    def __init__(self, memory: Memory, fresh: Callable[[], Any]) -> None:
        self._memory = memory
        self._fresh = fresh

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        with harmless("remembers nothing of this run"):
            self._memory.save(self._fresh())

    def pytest_unconfigure(self) -> None:
        self._memory.close()


class Gathered:
    """The runs of this process, to be harvested at the end."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._runs: list[Run] = []

    def add(self, run: Run) -> None:
        self._runs.append(run)

    def gather_all(self) -> Any:
        from pytest_perfcache.facts.distributions import Distributions

        return Harvest(self._tracing, Distributions()).gather(self._runs)


def _record(config: pytest.Config, tracing: Tracing) -> Callable[[], Gathered]:
    gathered = Gathered(tracing)
    config.pluginmanager.register(RecordingPlugin(tracing, config, gathered.add), "perfcache-recording")
    return lambda: gathered


def show(config: pytest.Config) -> int:
    """``--perfcache-show``: print what is remembered; the exit code."""
    from pytest_perfcache.report import text
    from pytest_perfcache.run.planning import RECORDS, decode_or_empty

    store = open_store(settings_of(config), lambda message: warnings.warn(PerfcacheWarning(message), stacklevel=2))
    found = store.get_many(store.keys(RECORDS))
    modules = [decode_or_empty(key.removeprefix(RECORDS), data) for key, data in found.items()]
    sys.stdout.writelines(f"{line}\n" for line in text.show(modules, store.stats()))
    store.close()
    return 0
