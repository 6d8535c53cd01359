"""Composition: which parts take part in this process, and how they are joined."""

from __future__ import annotations

import sys
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_perfcache.collect.known import NOTHING
from pytest_perfcache.facts.places import Places
from pytest_perfcache.run.circumstances import Circumstances
from pytest_perfcache.run.collecting import LightPlugin
from pytest_perfcache.run.config import (
    CHOICE,
    TRACING,
    distributes,
    environ_of,
    settings_of,
    shows_terminal,
    stop_tracing,
)
from pytest_perfcache.run.costs import CostMeter, learn_costs, learn_setups, read_setups
from pytest_perfcache.run.deciding import DecidingPlugin, WorkerDecidingPlugin
from pytest_perfcache.run.faults import PerfcacheWarning, harmless
from pytest_perfcache.run.garbage import undisturbed
from pytest_perfcache.run.locking import WaitsPlugin, keep_apart
from pytest_perfcache.run.memory import Memory, open_store
from pytest_perfcache.run.outlook import look_ahead, open_memory
from pytest_perfcache.run.quiet import QuietPlugin
from pytest_perfcache.run.results import ResultsPlugin
from pytest_perfcache.run.settling import chosen_by
from pytest_perfcache.run.standing import known_modules
from pytest_perfcache.run.telling import TellingPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_perfcache.settings import Shard


def configure(config: pytest.Config) -> None:
    """Join the parts that this process needs."""
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        _configure_worker(config, worker_input)
    else:
        _configure_controller(config)


def _configure_worker(config: pytest.Config, worker_input: dict[str, Any]) -> None:
    from pytest_perfcache.run.distributing import take_part
    from pytest_perfcache.run.gathering import record
    from pytest_perfcache.run.sharding import SHARD, ShardPlugin
    from pytest_perfcache.run.streaming import RECORDS, Sender
    from pytest_perfcache.run.workers import LIGHT, PLAN, WorkerPlugin, unpack_known
    from pytest_perfcache.settings import Shard

    register = config.pluginmanager.register
    if SHARD in worker_input:
        index, total, seconds = worker_input[SHARD]
        register(ShardPlugin(Shard(index, total), seconds), "perfcache-shard")
    packed = worker_input.get(LIGHT)
    known = NOTHING if packed is None else unpack_known(packed)
    in_detail = packed is None or packed["in detail"]
    light = LightPlugin(config, Places.of(config.rootpath), lambda: known, in_detail=in_detail)
    register(light, "perfcache-light")
    deciding = WorkerDecidingPlugin(
        worker_input.get(PLAN, ()), light, tells=bool(packed and packed["sketches"] is not None)
    )
    register(deciding, "perfcache-deciding")
    stopped = take_part(config, worker_input)
    meter = CostMeter(worker=True)
    register(meter, "perfcache-costs")
    tracing = config.stash.get(TRACING, None)
    if tracing is not None and RECORDS in worker_input:
        sender = Sender(config, tracing, worker_input[RECORDS])
        gathered = record(config, tracing, sender.add, lambda: sender.distributions, sketches=deciding.tells)
        register(WorkerPlugin(config, deciding, gathered, meter, sender), "perfcache-worker")
    keep_apart(config, give_up=stopped)


def _configure_controller(config: pytest.Config) -> None:
    if distributes(config.option):
        _configure_distribution(config)
    else:
        _configure_serial(config)


def _configure_distribution(config: pytest.Config) -> None:
    from pytest_perfcache.run.distributing import distribute
    from pytest_perfcache.run.replaying import save_orders
    from pytest_perfcache.run.workers import ControllerPlugin

    stop_tracing(config)
    outlook = look_ahead(config, environ_of(config))
    memory, results = outlook.memory, ResultsPlugin()
    telling = _tell(config, memory, results)
    account = distribute(config, outlook.knowledge())
    telling.parallel = account.parallel
    _watch(config, account.expected, beside=True)
    controller = ControllerPlugin(outlook, results, config, in_detail=telling.in_detail)
    config.pluginmanager.register(controller, "perfcache-controller")
    if memory.settings.shard is not None:
        _shard(config, memory.settings.shard, memory, telling)
    config.pluginmanager.register(WaitsPlugin(telling), "perfcache-waits")

    def save() -> None:
        memory.save(controller.learnt(), controller.collections, results.verdicts, chosen_by(config))
        save_orders(memory.store, account.orders)
        learn_costs(memory.store, controller.costs)
        learn_setups(memory.store, controller.setups)

    config.pluginmanager.register(SavingPlugin(memory, save), "perfcache-saving")


def _configure_serial(config: pytest.Config) -> None:
    settings, places = settings_of(config), Places.of(config.rootpath)
    memory, results = open_memory(config, places, environ_of(config)), ResultsPlugin()
    register = config.pluginmanager.register
    telling = _tell(config, memory, results)
    if settings.shard is not None:
        memory.planner.everything()
        _shard(config, settings.shard, memory, telling)
    if settings.replay is not None:
        from pytest_perfcache.run.replaying import ReplayPlugin, order_of

        register(ReplayPlugin(order_of(memory.store, settings.replay), telling), "perfcache-replay")
    circumstances = Circumstances.of(config, places, now=time.time(), settings=settings)
    expected: dict[str, float] = {}
    _watch(config, lambda: expected, beside=False)

    def arranged(items: Sequence[pytest.Item]) -> list[pytest.Item]:
        if settings.replay is not None or not items:
            return list(items)
        from pytest_perfcache.run.describing import Knowledge
        from pytest_perfcache.run.serial import arrange
        from pytest_perfcache.schedule.jobs import Order

        knowledge = Knowledge.of(memory.planner.histories(), results.verdicts, read_setups(memory.store))
        expected.update(knowledge.expected(item.nodeid for item in items))
        return arrange(items, knowledge, Order(settings.order), config)

    known = partial(known_modules, memory, config, circumstances)
    light = LightPlugin(config, places, known, in_detail=telling.in_detail)
    register(light, "perfcache-light")
    register(light.late, "perfcache-late-list")
    register(DecidingPlugin(memory.planner, circumstances, results, arranged, light), "perfcache-deciding")
    meter = CostMeter(worker=False)
    register(meter, "perfcache-costs")
    register(SavingPlugin(memory, _saver(config, memory, results, meter)), "perfcache-saving")
    observed = config.stash.get(TRACING, None) is not None
    register(QuietPlugin(memory, results, observed=observed), "perfcache-quiet")
    keep_apart(config, telling)


def _saver(config: pytest.Config, memory: Memory, results: ResultsPlugin, meter: CostMeter) -> Callable[[], None]:
    """What is to be done at the end without workers; what runs until then is recorded where it is observed."""
    tracing = config.stash.get(TRACING, None)
    if tracing is None:
        return lambda: memory.save((), (), results.verdicts, chosen_by(config))
    from pytest_perfcache.run.gathering import record

    harvest = record(config, tracing)

    def save() -> None:
        memory.save(harvest.runs(), harvest.collections(), results.verdicts, chosen_by(config))
        harvest.forget()
        learn_costs(memory.store, [meter.measured()])
        learn_setups(memory.store, [meter.setups])

    return save


def _watch(config: pytest.Config, expected: Callable[[], Mapping[str, float]], *, beside: bool) -> None:
    if shows_terminal(config):
        from pytest_perfcache.run.live import watch

        watch(config, expected, beside=beside)


def _tell(config: pytest.Config, memory: Memory, results: ResultsPlugin) -> TellingPlugin:
    telling = TellingPlugin(config, memory, results, config.stash.get(CHOICE, ""))
    register = config.pluginmanager.register
    register(results, "perfcache-results")
    register(telling, "perfcache-telling")
    if memory.settings.verify:
        from pytest_perfcache.run.verifying import VerifyingPlugin

        register(VerifyingPlugin(memory, results), "perfcache-verifying")
    return telling


def _shard(config: pytest.Config, shard: Shard, memory: Memory, telling: TellingPlugin) -> None:
    """Once all records are loaded."""
    from pytest_perfcache.run.describing import Knowledge
    from pytest_perfcache.run.sharding import ShardControllerPlugin, ShardPlugin, Split

    seconds = Knowledge.of(memory.planner.histories(), {}).seconds
    split = Split.current(memory.store, shard.total, seconds)
    plugin = ShardControllerPlugin(shard, split, memory.store, telling)
    config.pluginmanager.register(plugin, "perfcache-shards")
    if not distributes(config.option):
        plugin.here = ShardPlugin(shard, split.seconds)
        config.pluginmanager.register(plugin.here, "perfcache-shard")


class SavingPlugin:
    """Writes what was learnt."""

    def __init__(self, memory: Memory, save: Callable[[], None]) -> None:
        self._memory = memory
        self._save = save

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        with harmless("remembers nothing of this run"), undisturbed():
            self._save()

    def pytest_unconfigure(self) -> None:
        self._memory.close()
        self._memory.fresh.clear()


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
