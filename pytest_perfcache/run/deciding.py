"""Takes the hits out of what pytest is about to run: here, or in a worker by the controller's plan."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterable, Sequence
from typing import Any

import pytest

from pytest_perfcache.collect.known import Location
from pytest_perfcache.collect.light import LightFunction
from pytest_perfcache.model import Verdict
from pytest_perfcache.run.circumstances import Circumstances
from pytest_perfcache.run.collecting import LightPlugin
from pytest_perfcache.run.config import settings_of
from pytest_perfcache.run.declared import check_claims, check_markers, marked_uncacheable
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.garbage import undisturbed
from pytest_perfcache.run.marking import is_marked_as_told
from pytest_perfcache.run.planning import Planner
from pytest_perfcache.run.results import (
    Hit,
    ResultsPlugin,
    Unseen,
    count_unseen,
    counts_only,
    report_hits,
)

Arrange = Callable[[Sequence[pytest.Item]], list[pytest.Item]]


class DecidingPlugin:
    """Without workers: decides after collection, reports the hits, and arranges the rest."""

    def __init__(
        self,
        planner: Planner,
        circumstances: Circumstances,
        results: ResultsPlugin,
        arrange: Arrange,
        light: LightPlugin,
    ) -> None:
        self._planner = planner
        self._circumstances = circumstances
        self._results = results
        self._arrange = arrange
        self._light = light

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        real = [item for item in items if not isinstance(item, LightFunction)]
        check_markers(real)
        check_claims(real, settings_of(config).resources)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        broken = session.testsfailed and not session.config.option.continue_on_collection_errors
        if not session.config.option.collectonly and not broken:
            with harmless("runs every test"):
                self._take_hits(session)
        collected = session.testscollected
        if session.items and counts_only(session.config):
            session.testscollected = len(session.items)  # of which the terminal shows the share that is done
        try:
            return (yield)
        finally:
            session.testscollected = collected

    def _take_hits(self, session: pytest.Session) -> None:
        session.items[:] = map(self._needed, session.items)
        with undisturbed():
            self._decide(session.items)
        verdicts = self._results.verdicts
        hits = [item for item in session.items if verdicts[item.nodeid].hit]
        session.items[:] = self._arrange([item for item in session.items if not verdicts[item.nodeid].hit])
        told = [Hit(item.nodeid, item.location, item.keywords, verdicts[item.nodeid].told) for item in hits]
        report_hits(session.config, told)
        self._count_unseen(session)

    def _needed(self, item: pytest.Item) -> pytest.Item:
        """The item itself, light ones with their verdict; the real test where a light one is marked so that it runs."""
        if isinstance(item, LightFunction):
            verdict = self._light.known.verdict(item.nodeid)
            if marked_uncacheable(item) or not is_marked_as_told(item, verdict.told):
                real: pytest.Item = item.real
                return real
            self._results.verdicts[item.nodeid] = verdict
        return item

    def _decide(self, items: Iterable[pytest.Item]) -> None:
        verdicts = self._results.verdicts
        relative = self._light.places.relative
        paths = {item: relative(str(item.path)) for item in items if not isinstance(item, LightFunction)}
        self._planner.load(paths.values())
        for item, path in paths.items():
            conditions = self._circumstances.conditions(item.nodeid, marked_uncacheable(item))
            verdict = self._planner.decide(path, item.nodeid, conditions)
            if verdict.hit and not is_marked_as_told(item, verdict.told):
                verdict = verdict.marked_otherwise()
            verdicts[item.nodeid] = verdict

    def _count_unseen(self, session: pytest.Session) -> None:
        known = self._light.known.modules
        count_unseen(session, self._results, Unseen.of([known[path] for path in self._light.hidden]))


class WorkerDecidingPlugin:
    """In a worker: takes out what the controller's plan says, and remembers it for the controller."""

    def __init__(self, hits: Iterable[str], light: LightPlugin, *, tells: bool) -> None:
        self._plan = frozenset(hits)
        self.light = light
        self.tells = tells
        """Whether this worker tells of the tests that no worker collects."""
        self.taken: list[tuple[str, Location]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        check_markers(item for item in items if not isinstance(item, LightFunction))
        hits = [item for item in items if isinstance(item, LightFunction) or item.nodeid in self._plan]
        self.taken = [(item.nodeid, item.location) for item in hits]
        gone = set(hits)
        items[:] = [item for item in items if item not in gone]


def plan_everything(planner: Planner, circumstances: Circumstances, known: Container[str]) -> dict[str, Verdict]:
    """The verdicts of all tests with records, before anything is collected, but for those of ``known`` modules.

    What depends on marks that hooks give later has to run: a worker sees them, but not each the same.
    """
    verdicts: dict[str, Verdict] = {}
    for path, nodeid in planner.everything(known):
        verdict = planner.decide(path, nodeid, circumstances.conditions(nodeid))
        verdicts[nodeid] = verdict.marked_otherwise() if verdict.marked_late else verdict
    return verdicts
