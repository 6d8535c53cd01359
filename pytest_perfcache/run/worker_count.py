"""How many workers start: as many as pay off (``-n auto``), or at most as many as the user named (``-n N``)."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any, Final

import pytest

from pytest_perfcache.run.config import CHOICE, environ_of, settings_of
from pytest_perfcache.run.cores import share_cores
from pytest_perfcache.run.costs import read_costs
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.outlook import expect, look_ahead, store_of
from pytest_perfcache.schedule.bounds import load_of
from pytest_perfcache.schedule.machine import read_machine
from pytest_perfcache.schedule.workers import WorkerPlan, plan_workers

_ENVIRONMENT: Final = "PYTEST_XDIST_AUTO_NUM_WORKERS"
"""By this variable the user tells xdist the number that ``auto`` stands for."""


class WorkerCountPlugin:
    """Sets the options of xdist before it reads them. A run in this process is always possible: it collects for itself,
    and so finds what was not expected."""

    @pytest.hookimpl(wrapper=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, Any, Any]:
        option = config.option
        if settings_of(config).replay:
            option.numprocesses, option.dist, option.tx = 0, "no", []
        elif isinstance(option.numprocesses, int) and option.numprocesses > 0 and _may_choose(config):
            with harmless("starts all workers that were asked for"):
                option.numprocesses = _at_most(config, option.numprocesses)
        return (yield)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_auto_num_workers(self, config: pytest.Config) -> int | None:
        if os.environ.get(_ENVIRONMENT) or not _may_choose(config):
            return None
        found: list[int] = []
        with harmless("leaves the number of workers to xdist"):
            found.append(_best(config))
        return found[0] if found else None


def _may_choose(config: pytest.Config) -> bool:
    option = config.option
    return not (option.collectonly or option.dist == "each" or option.perfcache_show or option.usepdb)


def _best(config: pytest.Config) -> int:
    expected = expect(config, look_ahead(config, environ_of(config)))
    load = load_of(expected.jobs, settings_of(config).resources)
    costs = read_costs(store_of(config))
    plan = share_cores(
        config,
        read_machine(),
        costs.computing,
        lambda machine: plan_workers(load, len(expected.jobs), machine, costs),
    )
    config.stash[CHOICE] = f"{_count(plan.workers)}: {plan.reason}"
    return plan.workers


def _at_most(config: pytest.Config, asked: int) -> int:
    expected = expect(config, look_ahead(config, environ_of(config)))
    count = asked
    if expected.sure or not expected.jobs:
        count = min(asked, len(expected.jobs) if expected.sure else 1)
    if count < asked:
        config.stash[CHOICE] = f"{_count(count)} of {asked}: {_what(len(expected.jobs))}"
    if count:
        named = WorkerPlan(count, 0.0, 0.0, "the number asked for")
        share_cores(config, read_machine(), read_costs(store_of(config)).computing, lambda _: named)
    return count


def _what(tests: int) -> str:
    return f"{tests} test{'s' if tests > 1 else ''} to run" if tests else "nothing is known to run"


def _count(workers: int) -> str:
    return f"{workers or 'no'} worker{'s' if workers != 1 else ''}"
