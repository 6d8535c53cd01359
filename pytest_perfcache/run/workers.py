"""Between the controller and xdist's workers: the plan goes out, records and hits come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import pytest

from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import ModuleRecords, Reason, Verdict
from pytest_perfcache.run.costs import CostMeter
from pytest_perfcache.run.deciding import WorkerDecidingPlugin
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.results import CachedReport, ResultsPlugin, report_hits
from pytest_perfcache.run.settling import Collection
from pytest_perfcache.store.records import decode, encode

PLAN: Final = "perfcache_hits"
_TAKEN: Final = "perfcache_taken"
_RECORDS: Final = "perfcache_records"
_COSTS: Final = "perfcache_costs"
_SETUPS: Final = "perfcache_setups"
NEW: Final = Verdict(Reason.NEW)


class ControllerPlugin:
    """On the controller of a distributed run."""

    def __init__(self, verdicts: Mapping[str, Verdict], results: ResultsPlugin, config: pytest.Config) -> None:
        self._verdicts = verdicts
        self._results = results
        self._config = config
        self._session: pytest.Session | None = None
        self.fresh: list[ModuleRecords] = []
        self.collections: list[Collection] = []
        self.costs: list[Mapping[str, float]] = []
        self.setups: list[Mapping[str, float]] = []

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[PLAN] = [nodeid for nodeid, verdict in self._verdicts.items() if verdict.hit]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        output = getattr(node, "workeroutput", None)
        if not output:
            return
        for data in output.get(_RECORDS, ()):
            try:
                self.fresh.append(decode(data))
            except CodecError as error:
                self._config.issue_config_time_warning(
                    pytest.PytestWarning(f"records of a worker are lost: {error}"), 2
                )
        self.costs.append(output.get(_COSTS, {}))
        self.setups.append(output.get(_SETUPS, {}))
        self._report(output.get(_TAKEN, ()))

    def _report(self, taken: Iterable[Any]) -> None:
        """Tell of the hits, once for all workers."""
        known = self._results.verdicts
        new = [(nodeid, tuple(location)) for nodeid, location in taken if nodeid not in known]
        known.update((nodeid, self._verdicts[nodeid]) for nodeid, _ in new)
        if new and self._session is not None:
            self._session.testscollected += len(new)
            report_hits(self._config, [CachedReport.of(nodeid, location) for nodeid, location in new])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Tests that ran have the verdict that the plan had for them; where it had none they were new."""
        for result in self._results.results():
            self._results.verdicts.setdefault(result.nodeid, self._verdicts.get(result.nodeid, NEW))


class WorkerPlugin:
    """In a worker: hands over what the tests left, at the end."""

    def __init__(
        self,
        config: Any,
        deciding: WorkerDecidingPlugin,
        harvest: Callable[[], list[ModuleRecords]],
        meter: CostMeter,
    ) -> None:
        self._config = config
        self._deciding = deciding
        self._harvest = harvest
        self._meter = meter

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        output = self._config.workeroutput
        output[_COSTS] = self._meter.measured()
        output[_SETUPS] = self._meter.setups
        output[_TAKEN] = self._deciding.taken
        with harmless("remembers nothing of this worker"):
            output[_RECORDS] = [encode(module) for module in self._harvest()]
