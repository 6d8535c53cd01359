"""A plugin that wires the scheduler alone into pytest, for runs with real workers.

`estimates.json` in the root directory holds expected seconds by node id, `PERFCACHE_TEST_CAPACITIES`
the capacities (`gpu=2,licence=3`), `PERFCACHE_TEST_ORDER` the order; with `PERFCACHE_TEST_GRADUAL` workers start as
cores have room for them.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_perfcache.schedule.jobs import Job
    from pytest_perfcache.schedule.meta import TestMeta


def pytest_configure(config: pytest.Config) -> None:
    """Each process imports what it needs, as with the whole plugin."""
    for mark in ("resource", "serial", "parallel_safe"):
        config.addinivalue_line("markers", f"{mark}: scheduling")
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:
        from pytest_perfcache.schedule.xdist_worker import LINK, WorkerSide

        if LINK in workerinput:
            config.pluginmanager.register(WorkerSide(config), "perfcache-schedule-worker")
    elif config.getoption("tx"):
        _control(config)


def _control(config: pytest.Config) -> None:
    from pytest_perfcache.run.gradual import start_gradually
    from pytest_perfcache.schedule.jobs import Order
    from pytest_perfcache.schedule.meta import job_of
    from pytest_perfcache.schedule.xdist_scheduler import ControllerSide
    from pytest_perfcache.settings import parse_resources

    path = config.rootpath / "estimates.json"
    estimates: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    def describe(metas: Sequence[TestMeta]) -> list[Job]:
        jobs = [job_of(meta, estimates.get(meta.nodeid, 0.05)) for meta in metas]
        return [job._replace(is_new=job.key not in estimates) for job in jobs]

    capacities = parse_resources(os.environ.get("PERFCACHE_TEST_CAPACITIES", ""))
    order = Order(os.environ.get("PERFCACHE_TEST_ORDER", "auto"))
    side = ControllerSide(config, describe, capacities=capacities, order=order)
    config.pluginmanager.register(side, "perfcache-schedule-controller")
    if "PERFCACHE_TEST_GRADUAL" in os.environ:
        start_gradually(config, side.seconds_left)
