"""Collection: light nodes in the place of settled modules, and sketches of those that were collected for real."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from pytest_perfcache.collect.known import NOTHING, Known
from pytest_perfcache.collect.light import LATE, LightModule
from pytest_perfcache.collect.sketch import Sketch
from pytest_perfcache.facts.places import Places
from pytest_perfcache.model import Outcome, Told
from pytest_perfcache.run.config import named_node_ids
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.marking import marks_of

SELECTING: Final = ("keyword", "markexpr", "deselect")
"""Options by which pytest itself takes tests away after collection."""
_LOOKING: Final = ("failedfirst", "keepduplicates", "newfirst", "stepwise", "xmlpath")
"""Options under which somebody looks at tests between collection and run or at reports of hits, or counts twice."""

_IGNORING: Final = ("ignore", "ignore_glob")

_WATCHING: Final = (
    "pytest_itemcollected",
    "pytest_collection_modifyitems",
    "pytest_collection_finish",
    "pytest_report_collectionfinish",
    "pytest_deselected",
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_report_teststatus",
)
_DO_NOT_CARE: Final = ("_pytest.", "pytest_perfcache.", "xdist.", "__channelexec__", "_hypothesis_")
"""Whose hooks do nothing with a test that passed before they saw it run: pytest's own, but for the options above, ours,
xdist's (in a worker under the name of its channel), and hypothesis', which only puts a mark on its tests."""


_HIDDEN: Final = pytest.StashKey[str]()
"""On a light module that shows no tests: its path."""

_SKIPPED: Final = pytest.StashKey[Told]()
"""On a light module that is skipped as a whole: what is told of it."""

_UNSEEN: Final = SimpleNamespace()
"""Stands for a test that nobody looked at, where the terminal counts; other plugins look at what it counted."""


class LightPlugin:
    """Lets light modules stand for those that are ``known``, which is asked when collection begins.

    Where nobody looks at the tests, they do not appear, and are only counted by who knows how many there are.
    """

    def __init__(
        self, config: pytest.Config, places: Places, known: Callable[[], Known], *, in_detail: bool = False
    ) -> None:
        self._config = config
        self.places = places
        self._ask = known
        self.known = NOTHING
        self._in_detail = in_detail or any(getattr(config.option, name, None) for name in _LOOKING)
        self._selects = any(getattr(config.option, name, None) for name in SELECTING)
        self._hidden: dict[str, LightModule] = {}
        self._watched: bool | None = None
        self._ignoring: bool | None = None
        self._collects_modules_alone = False
        """Whether a Python file without a test module's name holds no tests for anybody."""
        self._patterns: list[str] = config.getini("python_files")
        self._marks = marks_of(config)

    @property
    def hidden(self) -> list[str]:
        """Paths of the modules whose tests did not appear."""
        return list(self._hidden)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        with harmless("collects every module"):
            self.known = self._ask()

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """A known module is not ignored: the conftest files that could say so are part of what it stands on.

        A file that nobody would collect is. Pytest looks at the lists of all conftest files anew for each file, and
        asks every plugin for a collector, which takes longer than the rest of the walk.
        """
        if not self.known.modules or self._ignores(config):
            return None
        if self.places.relative(str(collection_path)) in self.known.modules:
            return False
        return True if self._collects_modules_alone and is_plain(collection_path.name, self._patterns) else None

    def _ignores(self, config: pytest.Config) -> bool:
        """Whether somebody may leave out files who does not stand in a conftest file's list."""
        if self._ignoring is None:
            named = any(getattr(config.option, name, None) for name in _IGNORING)
            self._ignoring = named or bool(_foreign(config, "pytest_ignore_collect"))
            doctests = getattr(config.option, "doctestmodules", False)
            self._collects_modules_alone = not (doctests or _foreign(config, "pytest_collect_file"))
        return self._ignoring

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
        path = self.places.relative(str(module_path))
        known = self.known.modules.get(path)
        if known is None:
            return None
        skip = known.skip(path)
        shown = self._in_detail or self._config.get_verbosity() > 0 or self._is_watched() or known.marked_late
        shown = shown or (self._selects and not known.as_selected)
        sketch = self.known.sketch(path) if shown else None
        if shown and sketch is None:
            return None
        reason = None if skip is None else skip.reason
        module = LightModule.from_parent(
            parent, path=module_path, sketch=sketch, entry=known.entry, enlist=enlist, skip=reason
        )
        if skip is not None:
            module.stash[_SKIPPED] = skip
        elif not shown:
            module.stash[_HIDDEN] = path
        return module

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        """A skip of a whole module names the line that it was made in."""
        report = yield
        skip = collector.stash.get(_SKIPPED, None)
        if skip is not None and skip.where is not None:
            path, line = skip.where
            report.longrepr = (str(self.places.root / path), line, skip.reason)
        return report

    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        """Pytest makes nodes of all files beside a wanted one, some of them twice, and collects what is wanted."""
        path = collector.stash.get(_HIDDEN, None)
        if path is not None and isinstance(collector, LightModule):
            self._hidden[path] = collector

    @pytest.hookimpl(tryfirst=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._marks.note(item)

    def pytest_plugin_registered(self) -> None:
        self._watched = self._ignoring = None

    def _is_watched(self) -> bool:
        if self._watched is None:
            self._watched = bool(watchers(self._config))
        return self._watched

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Somebody may have begun to look when a part was already collected: a conftest file further down."""
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if self._hidden and self._is_watched():
            for path, module in self._hidden.items():
                sketch = self.known.sketch(path)
                items += _shown(module, sketch) if sketch is not None else module.real_items().values()
            self._hidden = {}
        hidden = [self.known.modules[path] for path in self._hidden]
        left_out = sum(module.left_out for module in hidden)
        if hasattr(reporter, "_numcollected"):  # private: what the line "collected 62 items" says
            reporter._numcollected += sum(module.tests for module in hidden) + left_out
        if reporter is not None and left_out:
            reporter.stats.setdefault("deselected", []).extend([_UNSEEN] * left_out)


def is_test_module(name: str, patterns: Iterable[str]) -> bool:
    """Whether pytest takes a file of this name for a test module. ``patterns``: the ini value ``python_files``."""
    return name.endswith(".py") and any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def is_plain(name: str, patterns: Sequence[str]) -> bool:
    """Whether this is the name of a Python file that is no test module; patterns for directories may match any."""
    in_directories = any("/" in pattern for pattern in patterns)
    return name.endswith(".py") and not in_directories and not is_test_module(name, patterns)


def _shown(module: LightModule, sketch: Sketch) -> Iterator[pytest.Item]:
    for item in module.show(sketch):
        item.ihook.pytest_itemcollected(item=item)
        yield item


def watchers(config: pytest.Config) -> list[str]:
    """Names of the plugins that look at tests between collection and run, or at reports."""
    return [plugin for name in _WATCHING for plugin in _foreign(config, name)]


def _foreign(config: pytest.Config, hook: str) -> list[str]:
    """Names of the plugins whose hook of this name may do anything."""
    return [
        implementation.plugin_name
        for implementation in getattr(config.pluginmanager.hook, hook).get_hookimpls()
        if not getattr(implementation.function, "__module__", "").startswith(_DO_NOT_CARE)
    ]


def enlist(collector: pytest.Collector) -> Iterator[pytest.Item]:
    """Collect a real module late; an error is reported as one of collection."""
    report = collector.ihook.pytest_make_collect_report(collector=collector)
    if not report.passed:
        collector.ihook.pytest_collectreport(report=report)
        return
    for node in report.result:
        if isinstance(node, pytest.Item):
            node.ihook.pytest_itemcollected(item=node)
            yield node
        else:
            yield from enlist(node)


class SketchingPlugin:
    """Remembers which tests each module had that was collected for real, before anybody takes some away or runs them.

    ``wanted``: whether anybody will ask for their sketches.
    """

    def __init__(self, config: pytest.Config, places: Places, *, wanted: bool = True) -> None:
        self._config = config
        self._places = places
        self._wanted = wanted
        self._modules: dict[pytest.Module, list[pytest.Item]] = {}
        self._sketches: dict[pytest.Module, Sketch | None] = {}
        self._skipped: dict[pytest.Module, tuple[str, int, str]] = {}
        self._left_out: set[pytest.Item] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Any:
        report = yield
        if type(collector) is pytest.Module and LATE not in collector.stash:
            if report.passed:
                self._modules[collector] = []
            elif report.skipped and isinstance(report.longrepr, tuple):
                self._skipped[collector] = report.longrepr
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            module = item.getparent(pytest.Module)
            if module is not None and module in self._modules:
                self._modules[module].append(item)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Pytest's own selection is the same when its options are; what others take away may be others next time."""
        if not watchers(self._config):
            self._left_out.update(items)

    def left_out(self, items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
        """Those of the tests that were selected away."""
        return (item for item in items if item in self._left_out)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Make the sketches now: to run a test may change what there is to be sketched, as it does with hypothesis."""
        if not self._wanted or not self._modules:
            return
        from pytest_perfcache.collect.sketching import sketch_module

        marks = marks_of(self._config).first
        places = {item: place for place, item in enumerate(session.items)}
        for module, items in self._modules.items():
            if places.keys() >= set(items):  # pytest sorts tests by the parameters of their fixtures
                items.sort(key=places.__getitem__)
            with harmless(f"collects {module.nodeid} again"):
                self._sketches[module] = sketch_module(module, items, marks)

    def modules(self) -> Iterator[tuple[str, pytest.Module, list[pytest.Item], Sketch]]:
        """Path, module, tests and sketch of those that were collected once and as a whole, and can be stood in for."""
        if getattr(self._config.option, "lf", False):
            return
        paths = {module: self._places.relative(str(module.path)) for module in self._modules}
        times = Counter(paths.values())
        named = {name.partition("::")[0] for name in named_node_ids(self._config, self._places)}
        for module, items in self._modules.items():
            sketch = self._sketches.get(module)
            if sketch is not None and times[paths[module]] == 1 and paths[module] not in named:
                yield paths[module], module, items, sketch

    def skipped(self) -> Iterator[tuple[str, pytest.Module, Told]]:
        """Path, module and what is told of it, of those whose own code skips them as a whole."""
        for module, (where, line, reason) in self._skipped.items():
            path = self._places.relative(str(module.path))
            if self._places.relative(where) == path:
                yield path, module, Told(Outcome.SKIPPED, reason, "collect", (path, line))
