"""Collection: light nodes in the place of settled modules, and sketches of those that were collected for real."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from pytest_perfcache.collect.known import NOTHING, Known, Unneeded
from pytest_perfcache.collect.light import LATE, LightFunction, LightModule
from pytest_perfcache.collect.sketch import Sketch
from pytest_perfcache.facts.places import Places
from pytest_perfcache.model import Outcome, Told
from pytest_perfcache.run.config import named_node_ids
from pytest_perfcache.run.declared import marked_uncacheable
from pytest_perfcache.run.faults import harmless
from pytest_perfcache.run.marking import is_marked_as_told, marks_of
from pytest_perfcache.run.showing import Hidden, HiddenModule, LatePlugin, Looks, foreign, looks

SELECTING: Final = ("keyword", "markexpr", "deselect")
"""Options by which pytest itself takes tests away after collection."""
_LOOKING: Final = ("failedfirst", "keepduplicates", "newfirst", "stepwise", "xmlpath")
"""Options under which somebody looks at tests between collection and run or at reports of hits, or counts twice."""

_IGNORING: Final = ("ignore", "ignore_glob")
_TEXTS: Final = (".txt", ".rst")

_HIDDEN: Final = pytest.StashKey[tuple[str, Sketch | None]]()
"""On a light module that shows pytest no tests: its path, and the tests where somebody else will look at them."""

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
        self._in_detail = (
            in_detail or config.get_verbosity() > 0 or any(getattr(config.option, name, None) for name in _LOOKING)
        )
        self._selects = any(getattr(config.option, name, None) for name in SELECTING)
        self._hidden = Hidden()
        self.late = LatePlugin(config)
        self._items = 0
        """How many tests pytest has collected."""
        self._known_looks: Looks | None = None
        self._ignoring: bool | None = None
        self._collects_modules_alone = False
        """Whether no file holds tests for anybody but test modules and texts."""
        self._patterns: list[str] = config.getini("python_files")
        self._marks = marks_of(config)

    @property
    def hidden(self) -> list[str]:
        """Paths of the modules whose tests did not appear."""
        return list(self._hidden.modules)

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
        plain = self._collects_modules_alone and is_plain(collection_path.name, self._patterns)
        return True if plain and not collection_path.is_dir() else None

    def _ignores(self, config: pytest.Config) -> bool:
        """Whether somebody may leave out files who does not stand in a conftest file's list."""
        if self._ignoring is None:
            named = any(getattr(config.option, name, None) for name in _IGNORING)
            self._ignoring = named or bool(foreign(config, "pytest_ignore_collect"))
            doctests = any(getattr(config.option, name, None) for name in ("doctestmodules", "doctestglob"))
            self._collects_modules_alone = not (doctests or foreign(config, "pytest_collect_file"))
        return self._ignoring

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
        path = self.places.relative(str(module_path))
        known = self.known.modules.get(path)
        if known is None:
            return None
        skip = known.skip(path)
        shown = self._is_shown(known)
        sketch = self.known.sketch(path) if shown or self._looks() is not Looks.NOBODY else None
        if sketch is None and shown:
            return None
        reason = None if skip is None else skip.reason
        module = LightModule.from_parent(
            parent, path=module_path, sketch=sketch if shown else None, entry=known.entry, enlist=enlist, skip=reason
        )
        if skip is not None:
            module.stash[_SKIPPED] = skip
        elif not shown:
            module.stash[_HIDDEN] = (path, sketch)
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
        hidden = collector.stash.get(_HIDDEN, None)
        if hidden is not None and isinstance(collector, LightModule):
            path, sketch = hidden
            self._hidden.add(path, HiddenModule(collector, sketch, self._items))

    @pytest.hookimpl(tryfirst=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._items += 1
        self._marks.note(item)

    def pytest_plugin_registered(self) -> None:
        self._known_looks = self._ignoring = None

    def _looks(self) -> Looks:
        if self._known_looks is None:
            self._known_looks = looks(self._config)
        return self._known_looks

    def _is_shown(self, module: Unneeded) -> bool:
        """Whether the tests of the module are to go through all that pytest does with tests."""
        looks = self._looks()
        if self._in_detail or looks is Looks.AT_EACH:
            return True
        if self._selects and not (looks is Looks.NOBODY and module.as_selected):
            return True
        return looks is Looks.NOBODY and module.marked_late

    @pytest.hookimpl(wrapper=True)  # within that of pytest's cache, which wants the id of each test
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """Show hooks for the list of all tests what is hidden, and take it away again.

        They may have appeared when a part was already collected, with a conftest file further down.
        """
        looks = self._looks()
        if self._hidden.modules:
            self._count_hidden(deselected=looks is Looks.NOBODY)
            if looks is Looks.AT_THE_LIST and not items and self.late.comes_first():
                self.late.shown = partial(self._show, (), each=False)
            elif looks is not Looks.NOBODY:
                items[:] = self._show(items, each=looks is Looks.AT_EACH)
                if looks is Looks.AT_EACH:
                    self._hidden.modules.clear()
        yield
        if self._hidden.modules and looks is Looks.AT_THE_LIST:
            items[:] = self._hidden.take_away(items, self._are_needed)
            for item in items:
                if isinstance(item, LightFunction):
                    self._marks.note_light(item)

    def _count_hidden(self, *, deselected: bool) -> None:
        """Let pytest's terminal count the tests that it did not see, and those that the selection took away."""
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        hidden = [self.known.modules[path] for path in self._hidden.modules]
        left_out = sum(module.left_out for module in hidden)
        if hasattr(reporter, "_numcollected"):  # private: what the line "collected 62 items" says
            reporter._numcollected += sum(module.tests for module in hidden) + left_out
        if reporter is not None and left_out and deselected:
            reporter.stats.setdefault("deselected", []).extend([_UNSEEN] * left_out)

    def _show(self, items: Sequence[pytest.Item], *, each: bool) -> list[pytest.Item]:
        return self._hidden.shown(items, self.known.sketch, _tell_of if each else self._note_parent)

    def _note_parent(self, item: LightFunction) -> None:
        self._marks.note(item.parent)

    def _are_needed(self, path: str, items: Sequence[LightFunction]) -> bool:
        """Whether a hook gave one of these tests marks with which it may end otherwise, or not those that it had."""
        parents = {id(item.parent): item.parent for item in items}
        same = not self.known.modules[path].marked_late and all(map(self._marks.is_untouched, parents.values()))
        return any(self._is_needed(item) for item in items if not same or item.is_remarked)

    def _is_needed(self, item: LightFunction) -> bool:
        self._marks.note_light(item)
        told = self.known.verdict(item.nodeid).told
        return bool(marked_uncacheable(item)) or not is_marked_as_told(item, told)


def _tell_of(item: pytest.Item) -> None:
    item.ihook.pytest_itemcollected(item=item)


def is_test_module(name: str, patterns: Iterable[str]) -> bool:
    """Whether pytest takes a file of this name for a test module. ``patterns``: the ini value ``python_files``."""
    return name.endswith(".py") and any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def is_plain(name: str, patterns: Sequence[str]) -> bool:
    """Whether a file of this name is neither a test module nor a text, in which pytest looks for doctests.

    Patterns for directories may match any Python file.
    """
    if not name.endswith(".py"):
        return not name.endswith(_TEXTS)
    return not any("/" in pattern for pattern in patterns) and not is_test_module(name, patterns)


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
        if looks(self._config) is Looks.NOBODY:
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
