"""Takes the hits out of what pytest is about to run: here, or in a worker by the controller's plan."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from pytest_perfcache.decide.verify import Conditions
from pytest_perfcache.facts.places import Places
from pytest_perfcache.model import Verdict
from pytest_perfcache.run.config import is_named, named_node_ids, reason_for_off, settings_of
from pytest_perfcache.run.declared import check_claims, check_markers, marked_uncacheable
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.planning import Planner
from pytest_perfcache.run.results import CachedReport, Location, ResultsPlugin, report_hits
from pytest_perfcache.settings import Settings

Arrange = Callable[[Sequence[pytest.Item]], list[pytest.Item]]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What this run asks for, the same for all tests but for those it names."""

    now: float
    ttl: float
    off: str
    named: tuple[str, ...]
    last_failed: bool
    verify: float
    """The share of the hits, between 0 and 1, that run all the same."""

    @classmethod
    def of(cls, config: pytest.Config, places: Places, *, now: float, settings: Settings) -> Circumstances:
        return cls(
            now=now,
            ttl=settings.ttl,
            verify=settings.verify,
            off=reason_for_off(config),
            named=named_node_ids(config, places),
            last_failed=bool(getattr(config.option, "lf", False)),
        )

    def conditions(self, nodeid: str, marked: str = "") -> Conditions:
        return Conditions(
            marked=marked,
            chosen=self._draws(nodeid),
            now=self.now,
            ttl=self.ttl,
            off=self.off,
            named=is_named(nodeid, self.named),
            last_failed=self.last_failed,
        )

    def _draws(self, nodeid: str) -> bool:
        """Whether the test is drawn for verification; every run draws anew."""
        return self.verify > 0 and Random(f"{self.now} {nodeid}").random() < self.verify


def report_of(item: pytest.Item) -> CachedReport:
    return CachedReport.of(item.nodeid, item.location, item.keywords)


class DecidingPlugin:
    """Without workers: decides after collection, reports the hits, and arranges the rest."""

    def __init__(
        self,
        planner: Planner,
        circumstances: Circumstances,
        places: Places,
        results: ResultsPlugin,
        arrange: Arrange,
    ) -> None:
        self._planner = planner
        self._circumstances = circumstances
        self._places = places
        self._results = results
        self._arrange = arrange

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        check_markers(items)
        check_claims(items, settings_of(config).resources)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        broken = session.testsfailed and not session.config.option.continue_on_collection_errors
        if not session.config.option.collectonly and not broken:
            with harmless("runs every test"):
                self._take_hits(session)
        return (yield)

    def _take_hits(self, session: pytest.Session) -> None:
        paths = {item: self._places.relative(str(item.path)) for item in session.items}
        self._planner.load(paths.values())
        verdicts = self._results.verdicts
        for item, path in paths.items():
            conditions = self._circumstances.conditions(item.nodeid, marked_uncacheable(item))
            verdicts[item.nodeid] = self._planner.decide(path, item.nodeid, conditions)
        hits = [item for item in session.items if verdicts[item.nodeid].hit]
        session.items[:] = self._arrange([item for item in session.items if not verdicts[item.nodeid].hit])
        report_hits(session.config, map(report_of, hits))


class WorkerDecidingPlugin:
    """In a worker: takes out what the controller's plan says, and remembers it for the controller."""

    def __init__(self, hits: Iterable[str]) -> None:
        self._plan = frozenset(hits)
        self.taken: list[tuple[str, Location]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        check_markers(items)
        self.taken = [(item.nodeid, item.location) for item in items if item.nodeid in self._plan]
        items[:] = [item for item in items if item.nodeid not in self._plan]


def plan_everything(planner: Planner, circumstances: Circumstances) -> dict[str, Verdict]:
    """The verdicts of all tests with records, before anything is collected."""
    return {
        nodeid: planner.decide(path, nodeid, circumstances.conditions(nodeid)) for path, nodeid in planner.everything()
    }
