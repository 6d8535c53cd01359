"""Workers start as cores have room for them, and not all at once.

Starting and collecting is work for a core, running often is not: tests wait for others. Where there are more workers
than cores, all that start together are ready at the same late moment. One after the other, the first are ready as soon
as if they were alone, and the last no later than before. A worker that would find nothing left to do is not started.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_perfcache.run.faults import harmless
from pytest_perfcache.schedule.machine import read_machine


def start_gradually(config: pytest.Config, left: Callable[[], float]) -> None:
    """On the controller, with a scheduler of ours. ``left``: seconds for which tests will wait for a worker."""
    at_once = max(2, math.ceil(read_machine().cores))
    config.pluginmanager.register(GradualStartPlugin(config, at_once, left), "perfcache-gradual")


class GradualStartPlugin:
    """On the controller. ``at_once``: workers that start together; ``left``: seconds for which tests will wait."""

    def __init__(self, config: pytest.Config, at_once: int, left: Callable[[], float]) -> None:
        self._config = config
        self._at_once = at_once
        self._left = left
        self._held: list[Any] = []
        """Specifications of workers that xdist does not start."""
        self._waiting: list[Any] = []
        """Gateways to their processes."""
        self._total = 0
        self._ready = 0
        """Workers that have collected, and whose place nobody has taken yet."""
        self._began: dict[str, float] = {}
        self._shortest = math.inf
        """Seconds that the start of a worker took, with its collection."""

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_xdist_setupnodes(self, specs: list[Any]) -> None:
        """Keep back what is too much for the cores of this host; xdist starts what is left in the list."""
        self._total = len(specs)
        self._held = [spec for spec in specs if spec.popen][self._at_once :]
        specs[:] = [spec for spec in specs if not any(spec is held for held in self._held)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Make the processes of the others while the first workers start: later nobody would be served meanwhile."""
        manager = self._xdist.nodemanager
        with harmless("starts fewer workers"):
            self._waiting = [manager.group.makegateway(spec) for spec in self._held]

    @property
    def _xdist(self) -> Any:
        return self._config.pluginmanager.getplugin("dsession")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["workercount"] = self._total
        self._began[node.gateway.id] = time.perf_counter()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any) -> None:
        self._ready += 1
        self._shortest = min(self._shortest, time.perf_counter() - self._began[node.gateway.id])

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logstart(self) -> None:
        """A worker that has collected has begun: now there is room for another one's start."""
        while self._waiting and self._ready > 0 and self._left() > self._shortest:
            self._ready -= 1
            self._start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, error: object | None) -> None:
        """One that was kept back takes the place of a lost worker."""
        if error is not None and self._waiting:
            self._start()

    def _start(self) -> None:
        """As xdist's own ``NodeManager.setup_node``, for a process that is there."""
        from xdist.workermanage import WorkerController

        gateway, xdist = self._waiting.pop(0), self._xdist
        with harmless("starts a worker less"):
            xdist.nodemanager.specs.append(gateway.spec)
            self._config.hook.pytest_xdist_newgateway(gateway=gateway)
            node = WorkerController(xdist.nodemanager, gateway, self._config, xdist.queue.put)
            gateway.node = node  # keeps it alive
            node.setup()
            # Private, and the only way: xdist does the same when it replaces a lost worker.
            xdist._active_nodes.add(node)
