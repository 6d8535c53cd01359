"""Between the controller and xdist's workers: the plan goes out, records and hits come back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pytest

from pytest_perfcache.collect.known import Known, Unneeded
from pytest_perfcache.collect.sketch import EMPTY
from pytest_perfcache.model import ModuleRecords, Reason, Verdict
from pytest_perfcache.run.costs import CostMeter
from pytest_perfcache.run.deciding import WorkerDecidingPlugin
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.gathering import Gathered
from pytest_perfcache.run.outlook import Outlook
from pytest_perfcache.run.results import Hit, ResultsPlugin, Unseen, count_unseen, report_hits
from pytest_perfcache.run.settling import Collection
from pytest_perfcache.run.showing import Looks, looks
from pytest_perfcache.run.streaming import RECORDS, Receiver, Sender, anew

PLAN: Final = "perfcache_hits"
LIGHT: Final = "perfcache_light"
_HIDDEN: Final = "perfcache_hidden"
_COLLECTED: Final = "perfcache_collected"
_TAKEN: Final = "perfcache_taken"
_COSTS: Final = "perfcache_costs"
_SETUPS: Final = "perfcache_setups"
NEW: Final = Verdict(Reason.NEW)


class ControllerPlugin:
    """On the controller of a distributed run."""

    def __init__(self, outlook: Outlook, results: ResultsPlugin, config: pytest.Config, *, in_detail: bool) -> None:
        self._verdicts = outlook.verdicts
        self._known = outlook.known
        self._in_detail = in_detail
        self._teller: object = None
        self._results = results
        self._config = config
        self._session: pytest.Session | None = None
        self._world = outlook.memory.world
        self._receivers: list[Receiver] = []
        self.collections: list[Collection] = []
        self.costs: list[Mapping[str, float]] = []
        self.setups: list[Mapping[str, float]] = []

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    def learnt(self) -> Iterator[ModuleRecords]:
        """What the tests of all workers left, also of those that crashed or were interrupted."""
        for receiver in self._receivers:
            with harmless("remembers nothing of a worker"):
                yield from receiver.histories(self._world.run, lambda: anew(self._world))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        receiver = Receiver()
        self._receivers.append(receiver)
        node.workerinput[RECORDS] = node.gateway.newchannel()
        node.workerinput[RECORDS].setcallback(receiver.receive)
        node.workerinput[PLAN] = [nodeid for nodeid, verdict in self._verdicts.items() if verdict.hit]
        if self._teller is None:
            self._teller = node
        node.workerinput[LIGHT] = {
            **pack_known(self._known, tells=self._teller is node),
            "in detail": self._in_detail or looks(self._config) is not Looks.NOBODY,
        }

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        output = getattr(node, "workeroutput", None)
        if not output:
            if node is self._teller:
                self._teller = None  # the worker that takes its place tells of the hits
            return
        self.costs.append(output.get(_COSTS, {}))
        self.setups.append(output.get(_SETUPS, {}))
        self._report(output.get(_TAKEN, ()))
        if node is self._teller:
            self._count(output.get(_HIDDEN, ()))
            self._take_collections(output.get(_COLLECTED, ()))

    def _report(self, taken: Iterable[Any]) -> None:
        """Tell of the hits, once for all workers."""
        known = self._results.verdicts
        new = [(nodeid, tuple(location)) for nodeid, location in taken if nodeid not in known]
        known.update((nodeid, self._verdicts.get(nodeid) or self._known.verdict(nodeid)) for nodeid, _ in new)
        if new and self._session is not None:
            self._session.testscollected += len(new)
            hits = [Hit(nodeid, location, (), known[nodeid].told) for nodeid, location in new]
            report_hits(self._config, hits)

    def _count(self, hidden: Iterable[str]) -> None:
        """Tell of the hits in modules that no worker had to collect."""
        modules = [self._known.modules[path] for path in hidden]
        if self._session is not None:
            count_unseen(self._session, self._results, Unseen.of(modules))

    def _take_collections(self, packed: Iterable[Any]) -> None:
        for data in packed:
            with harmless("does not remember how a module was collected"):
                self.collections.append(Collection.unpack(data))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Tests that ran have the verdict that the plan had for them; where it had none they were new."""
        for result in self._results.results():
            self._results.verdicts.setdefault(result.nodeid, self._verdicts.get(result.nodeid, NEW))


class WorkerPlugin:
    """In a worker: hands over what is left at the end."""

    def __init__(
        self,
        config: Any,
        deciding: WorkerDecidingPlugin,
        gathered: Gathered,
        meter: CostMeter,
        sender: Sender,
    ) -> None:
        self._sender = sender
        self._config = config
        self._deciding = deciding
        self._gathered = gathered
        self._meter = meter

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        output = self._config.workeroutput
        output[_COSTS] = self._meter.measured()
        output[_SETUPS] = self._meter.setups
        output[_TAKEN] = self._deciding.taken
        with harmless("remembers nothing of this worker"):
            self._sender.finish()
            if self._deciding.tells:
                output[_HIDDEN] = self._deciding.light.hidden
                output[_COLLECTED] = [collection.pack() for collection in self._gathered.collections()]


def pack_known(known: Known, *, tells: bool) -> dict[str, Any]:
    """What a worker is told of the modules that it need not collect; one worker tells of their tests."""
    modules = {path: list(module) for path, module in known.modules.items()}
    return {"modules": modules, "sketches": {path: known.read(path) for path in modules} if tells else None}


def unpack_known(packed: Mapping[str, Any]) -> Known:
    sketches = packed["sketches"]
    empty = EMPTY.to_bytes()
    read = (lambda _: empty) if sketches is None else sketches.get
    return Known({path: Unneeded(*module) for path, module in packed["modules"].items()}, read)
