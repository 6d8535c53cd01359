"""The scheduling of a distributed run: scheduler and account on the controller, their counterpart in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_perfcache.schedule.xdist_worker import LINK, WorkerSide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

    from pytest_perfcache.run.accounting import AccountPlugin
    from pytest_perfcache.run.describing import Knowledge
    from pytest_perfcache.schedule.jobs import Job
    from pytest_perfcache.schedule.meta import TestMeta


def distribute(config: pytest.Config, knowledge: Knowledge) -> AccountPlugin:
    """On the controller: schedule where xdist's own way was not asked for, and account for what became of the time.

    Imports its half itself: no worker needs it.
    """
    from pytest_perfcache.run.accounting import AccountPlugin
    from pytest_perfcache.run.config import settings_of
    from pytest_perfcache.run.gradual import start_gradually
    from pytest_perfcache.schedule.jobs import Order
    from pytest_perfcache.schedule.xdist_scheduler import OWN_DISTS, ControllerSide

    settings = settings_of(config)
    jobs: dict[str, Job] = {}

    def describe(metas: Sequence[TestMeta]) -> list[Job]:
        found = knowledge.describe(metas)
        jobs.update((job.key, job) for job in found)
        return found

    side = ControllerSide(config, describe, capacities=settings.resources, order=Order(settings.order))
    config.pluginmanager.register(side, "perfcache-scheduling")
    if config.option.dist in OWN_DISTS:
        start_gradually(config, side.seconds_left)
    account = AccountPlugin(lambda: jobs, lambda: side.scheduling.assignment.waits if side.scheduling else ())
    config.pluginmanager.register(account, "perfcache-account")
    return account


def take_part(config: pytest.Config, worker_input: Mapping[str, Any]) -> Callable[[], bool]:
    """In a worker: follow the controller's scheduler, where there is one. Returns whether it wants no more tests."""
    if LINK not in worker_input:
        return lambda: False
    side = WorkerSide(config)
    config.pluginmanager.register(side, "perfcache-scheduling")
    return lambda: side.stopped
