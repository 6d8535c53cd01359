"""Who looks at tests between collection and run, and light modules whose tests appear to nobody else.

Most who look want the list of all tests, once: the ``pytest_collection_modifyitems`` of a ``conftest.py``. Light tests
are put into that list before these hooks are called, and are taken out again after them where they are hits as they
were. Pytest itself does with them none of what it does with each test, which takes twice as long as to make them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import pytest

from pytest_perfcache.collect.light import LightFunction, LightModule
from pytest_perfcache.collect.sketch import Sketch

_LIST: Final = "pytest_collection_modifyitems"
_EACH: Final = (
    "pytest_itemcollected",
    "pytest_collection_finish",
    "pytest_report_collectionfinish",
    "pytest_deselected",
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_report_teststatus",
)
_DO_NOT_CARE: Final = ("_pytest.", "pytest_perfcache.", "xdist.", "__channelexec__", "_hypothesis_")
"""Whose hooks do nothing with a test that passed before they saw it run: pytest's own, but for some options, ours,
xdist's (in a worker under the name of its channel), and hypothesis', which only puts a mark on its tests."""


class Looks(enum.Enum):
    """Who looks at tests that need not run."""

    NOBODY = enum.auto()
    AT_THE_LIST = enum.auto()
    """Hooks for the list of all tests, and nobody else."""
    AT_EACH = enum.auto()
    """Hooks that are called for each test or its reports, or that see the list before or after all others."""


def looks(config: pytest.Config) -> Looks:
    """Who looks, as far as plugins are registered by now."""
    listing = foreign(config, _LIST)
    if any(foreign(config, name) for name in _EACH) or any(hook.wrapper or hook.hookwrapper for hook in listing):
        return Looks.AT_EACH
    return Looks.AT_THE_LIST if listing else Looks.NOBODY


def foreign(config: pytest.Config, hook: str) -> list[Any]:
    """The implementations of the hook of this name that may do anything."""
    return [
        implementation
        for implementation in getattr(config.pluginmanager.hook, hook).get_hookimpls()
        if not getattr(implementation.function, "__module__", "").startswith(_DO_NOT_CARE)
    ]


class LatePlugin:
    """Puts hidden tests into a list that is otherwise empty, once pytest has sorted it.

    They are in order already, for none of them has parameters that modules share; to sort them would take as long as
    to make them.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.shown: Callable[[], list[pytest.Item]] | None = None
        """Gives the tests, where there are any for this plugin to put in."""

    def comes_first(self) -> bool:
        """Whether all others who look are called after this plugin."""
        called = [hook.plugin for hook in reversed(getattr(self._config.pluginmanager.hook, _LIST).get_hookimpls())]
        before = called[: called.index(self)]
        return not any(hook.plugin in before for hook in foreign(self._config, _LIST))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.shown is not None:
            items += self.shown()


class HiddenModule(NamedTuple):
    """A light module whose tests pytest did not see when it collected them."""

    module: LightModule
    sketch: Sketch | None
    """Its tests, where they were asked for already."""
    before: int
    """How many tests pytest had collected when it came to the module."""


class Hidden:
    """Hidden modules by path, in pytest's order."""

    def __init__(self) -> None:
        self.modules: dict[str, HiddenModule] = {}

    def add(self, path: str, module: HiddenModule) -> None:
        """Pytest came to this one."""
        self.modules[path] = module

    def shown(
        self,
        items: Sequence[pytest.Item],
        read: Callable[[str], Sketch | None],
        appear: Callable[[LightFunction], object],
    ) -> list[pytest.Item]:
        """The tests that pytest collected with those of the modules between them, in pytest's order.

        ``read``: what is remembered of a module's tests; where that is nothing, the real ones appear. ``appear``: is
        called with each of the others. To be called once.
        """
        found: list[pytest.Item] = []
        at = 0
        for path, (module, known, before) in self.modules.items():
            found += items[at:before]
            at = max(at, before)
            sketch = known or read(path)
            if sketch is None:
                found += module.real_items().values()
                continue
            for light in module.show(sketch):
                appear(light)
                found.append(light)
        return found + list(items[at:])

    def take_away(
        self, items: Sequence[pytest.Item], are_needed: Callable[[str, Sequence[LightFunction]], bool]
    ) -> list[pytest.Item]:
        """The tests without those of the modules that are all there, each once, and of which none is needed.

        ``are_needed``: is called with path and tests of a module. The other modules are hidden no more.
        """
        present = [item for item in items if type(item) is LightFunction]
        once = set(present)
        if len(once) != len(present):
            once.clear()
        self.modules = {
            path: hidden
            for path, hidden in self.modules.items()
            if (lights := hidden.module.lights) and once.issuperset(lights) and not are_needed(path, lights)
        }
        gone = {item for hidden in self.modules.values() for item in hidden.module.lights}
        for hidden in self.modules.values():
            hidden.module.lights = []
        return [item for item in items if item not in gone]
