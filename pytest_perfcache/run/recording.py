"""In the process that runs tests: says which unit is at work, and keeps what each test left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any, Final, NamedTuple

import pytest

from pytest_perfcache.model import Outcome, Told
from pytest_perfcache.run.declared import declare
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.marking import marks_of
from pytest_perfcache.run.results import outcome_of
from pytest_perfcache.schedule.xdist_worker import PauseItem
from pytest_perfcache.trace.audit import harness_asks
from pytest_perfcache.trace.tracing import Tracing
from pytest_perfcache.trace.unit import Touched, Unit, blocks_of, whole

_UNIT: Final = pytest.StashKey[Unit]()
_PHASES: Final = ("setup", "call", "teardown")
DECIDED: Final = (Outcome.PASSED, Outcome.FAILED)
"""Outcomes that speak for themselves."""


class Run(NamedTuple):
    """One test as it ran here."""

    nodeid: str
    path: str
    outcome: Outcome
    duration: float
    """Seconds for set-up, call and teardown."""
    touched: Touched
    told: Told | None = None
    """How it ended, where that was no plain pass and can be told again."""

    @property
    def recorded(self) -> bool:
        """Whether this run, if all of it was tracked, leaves a record."""
        return self.told is not None or self.outcome in DECIDED


class _Current:
    """The test that runs now."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.phases: list[tuple[str, Outcome]] = []
        self.duration = 0.0
        self.entered: set[str] = set()
        self.tellable: list[Told | None] = []
        """Of each phase that did not plainly pass."""

    def outcome(self) -> Outcome:
        """A clean pass is a passed report for each phase (and for each subtest), in this process, and nothing else."""
        bad = [outcome for _, outcome in self.phases if outcome is not Outcome.PASSED]
        if bad:
            return Outcome.FAILED if Outcome.FAILED in bad else bad[0]
        complete = {phase for phase, _ in self.phases} == self.entered == set(_PHASES)
        return Outcome.PASSED if complete else Outcome.INTERRUPTED

    def told(self) -> Told | None:
        """How it ended, where one phase and nothing else says that it neither passed nor failed."""
        bad = [outcome for _, outcome in self.phases if outcome is not Outcome.PASSED]
        complete = {phase for phase, _ in self.phases} == self.entered and "teardown" in self.entered
        return self.tellable[0] if complete and len(bad) == len(self.tellable) == 1 else None


class RecordingPlugin:
    """Hooks of the process that runs tests; ``runs`` grows by one with each test."""

    def __init__(self, tracing: Tracing, config: pytest.Config, done: Callable[[Run], None]) -> None:
        self._tracing = tracing
        self._config = config
        self._done = done
        self._recorder = tracing.recorder
        self._fixtures: dict[str, dict[pytest.FixtureDef[Any], Unit]] = defaultdict(dict)
        """By name: the last set-up of each fixture of a wider scope."""
        self._collections: dict[pytest.Collector, list[Unit]] = {}
        self._appearing: dict[str, set[str]] = {}
        self._current: _Current | None = None
        self._plugins: list[tuple[str, bool]] | None = None
        self._known_roots: dict[str, list[str]] = {}
        self._getfixturevalue = pytest.FixtureRequest.getfixturevalue
        self._read_cache = pytest.Cache.get
        self._watch()

    def _watch(self) -> None:
        original, recorder = self._getfixturevalue, self._recorder

        def getfixturevalue(self: pytest.FixtureRequest, argname: str) -> Any:
            recorder.current.fixtures.add(argname)
            return original(self, argname)

        pytest.FixtureRequest.getfixturevalue = getfixturevalue  # type: ignore[method-assign]
        read = self._read_cache

        def get(self: pytest.Cache, key: str, default: Any) -> Any:
            if not harness_asks(2):
                recorder.spoil(f"reads {key} from pytest's cache, which other runs write")
            return read(self, key, default)

        pytest.Cache.get = get  # type: ignore[method-assign]

    def pytest_unconfigure(self) -> None:
        pytest.FixtureRequest.getfixturevalue = self._getfixturevalue  # type: ignore[method-assign]
        pytest.Cache.get = self._read_cache  # type: ignore[method-assign]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        unit = Unit(f"collection of {collector.nodeid or 'the session'}")
        collector.stash[_UNIT] = unit
        module = collector.getparent(pytest.Module)
        if module is not None:
            self._collections.setdefault(module, []).append(unit)
        with self._recorder.unit(unit):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, Any, Any]:
        with self._recorder.unit(Unit("what runs between tests")):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        if fixturedef.scope == "function":
            return (yield)
        unit = Unit(f"set-up of the {fixturedef.scope} fixture {fixturedef.argname}")
        unit.fixtures.update(fixturedef.argnames)
        self._fixtures[fixturedef.argname][fixturedef] = unit
        self._recorder.current.stand_on(unit)
        with self._recorder.unit(unit):
            try:
                return (yield)
            finally:
                self._recorder.ambient.look(unit)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        if isinstance(item, PauseItem):
            return (yield)
        current = self._current = _Current(Unit(f"test {item.nodeid}"))
        current.unit.fixtures.update(getattr(item, "fixturenames", ()))
        declare(item, current.unit, self._tracing.inputs)
        self._recorder.ambient.surround(current.unit)
        self._tracing.modules.begin()
        try:
            self._recorder.enter(current.unit)
            try:
                return (yield)
            finally:
                self._tracing.children.settle()
                self._recorder.ambient.look(current.unit)
                self._recorder.leave(current.unit)
        finally:
            self._current = None
            self._tracing.modules.end()
            if current.phases:
                with harmless(f"does not record {item.nodeid}"):
                    self._done(self._finished(item, current))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._enter("setup")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        self._enter("call")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._enter("teardown")

    def _enter(self, phase: str) -> None:
        if self._current is not None:
            self._current.entered.add(phase)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        raised = call.excinfo
        report = yield
        if self._current is not None and outcome_of(report) not in DECIDED:
            from pytest_perfcache.run.tellable import told_of

            told = None
            with harmless(f"runs {item.nodeid} again"):
                told = told_of(item, report, raised, call.excinfo)
            self._current.tellable.append(told)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._current is not None:
            self._current.phases.append((str(report.when), outcome_of(report)))
            self._current.duration += report.duration

    def _use_fixtures(self, unit: Unit, nodeid: str) -> None:
        """Let the test stand on every wider fixture that it uses, whoever had it set up."""
        names = set(unit.fixtures)
        waiting = set(names)
        while waiting:
            found = [
                part
                for name in waiting.intersection(self._fixtures)
                for definition, part in self._fixtures[name].items()
                if nodeid.startswith(definition.baseid)
            ]
            for part in found:
                unit.stand_on(part)
            more = {name for part in (*found, *unit.parts) for name in part.fixtures}
            waiting = more - names
            names |= more

    def _finished(self, item: pytest.Item, current: _Current) -> Run:
        self._use_fixtures(current.unit, item.nodeid)
        self._recorder.kept.settle(current.unit, blocks_of(whole([current.unit]), self._recorder.codes))
        path = self._tracing.places.relative(str(item.path))
        outcome, told = current.outcome(), current.told()
        if told is not None:
            self._tracing.inputs.depend_on_machine(current.unit)
        elif outcome is Outcome.PASSED and (late := marks_of(self._config).late(item)):
            told = Told(outcome, "", "call", late=late)
        touched = self._touched(current.unit, item, path)
        if told is not None and told.where is not None:
            place = self._tracing.places.relative(told.where[0])
            told = told._replace(where=(place, told.where[1]))
            if place in self._tracing.modules.by_path:
                touched = touched._replace(located=frozenset((place,)))
            elif self._tracing.places.is_project(place):
                told = None
        return Run(item.nodeid, path, outcome, current.duration, touched, told)

    def collection_of(self, module: pytest.Module, path: str, *, skipped: bool = False) -> Touched:
        """What the list of a module's tests depends on, or that the module is skipped as a whole."""
        unit = Unit(f"collection of {path}", parts=self._collections.get(module, ()))
        if skipped:
            self._tracing.inputs.depend_on_machine(unit)
        return self._touched(unit, module, path)

    def _touched(self, unit: Unit, node: pytest.Item | pytest.Collector, path: str) -> Touched:
        """What a unit touched, and the collection of everything around it."""
        around = [self._recorder.session]
        around += (parent.stash[_UNIT] for parent in node.listchain() if _UNIT in parent.stash)
        unit.inputs |= self._around(path)
        return self._tracing.modules.touched(unit, around, self._roots(path))

    def _around(self, path: str) -> set[str]:
        """The same for all tests of a file: what would count for them if it appeared, and a file without Python."""
        found = self._appearing.get(path)
        if found is None:
            unit = Unit(f"what lies around {path}")
            for directory in PurePosixPath(path).parents:
                for name in ("conftest.py", "__init__.py"):
                    self._tracing.inputs.depend_on_absence(unit, str(directory / name))
            if not path.endswith(".py"):
                self._tracing.inputs.depend_on_file(unit, path)
            found = self._appearing[path] = unit.inputs
        return found

    def _roots(self, path: str) -> list[str]:
        """The test's module, the conftest files over it, and plugins that belong to the project."""
        if self._plugins is None:
            self._plugins = list(self._project_plugins())
            self._known_roots.clear()
        found = self._known_roots.get(path)
        if found is None:
            over = PurePosixPath(path).parents
            found = [
                plugin for plugin, everywhere in self._plugins if everywhere or PurePosixPath(plugin).parent in over
            ]
            self._known_roots[path] = found = [path, *found] if path.endswith(".py") else found
        return found

    def _project_plugins(self) -> Iterable[tuple[str, bool]]:
        for plugin in self._config.pluginmanager.get_plugins():
            path = self._tracing.modules.path_of_module(plugin) if isinstance(plugin, ModuleType) else None
            if path is not None:
                yield path, PurePosixPath(path).name != "conftest.py"

    def pytest_plugin_registered(self) -> None:
        self._plugins = None
