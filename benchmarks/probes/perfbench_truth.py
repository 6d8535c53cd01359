"""Pytest plugin: write which functions of some source directories each test enters, to PERFBENCH_TRUTH.

The independent truth for the cache: `sys.setprofile` sees every Python call, at a price no cache can pay.
What runs while a shared fixture is set up counts for every test that uses it, however it asked for it.

PERFBENCH_SOURCES names the directories, joined by `os.pathsep`. The file holds one JSON object: `functions`,
a list of `[path, qualified name, first line]`; `tests`, for each node id the indexes of the functions;
`collection`, the indexes of those that ran outside any test, such as at import.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import CodeType, FrameType


class Truth:
    """Attributes calls to the innermost unit that is open: a fixture's set-up, a test, or the collection."""

    def __init__(self, path: Path, sources: tuple[str, ...]) -> None:
        self.path = path
        self.sources = sources
        self.numbers: dict[int, int | None] = {}
        self.codes: list[CodeType] = []
        self.kept: list[CodeType] = []
        self.collection: set[int] = set()
        self.open: list[set[int]] = [self.collection]
        self.fixtures: dict[object, set[int]] = {}
        self.tests: dict[str, set[int]] = {}

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        """The profile function: note a call of a function under the source directories."""
        if event != "call":
            return
        code = frame.f_code
        key = id(code)
        if key not in self.numbers:
            self.numbers[key] = self._number(code)
        number = self.numbers[key]
        if number is not None:
            self.open[-1].add(number)

    def _number(self, code: CodeType) -> int | None:
        """A new code object's index, or None outside the sources; kept alive to keep its id."""
        self.kept.append(code)
        if not code.co_filename.startswith(self.sources) or code.co_name == "<module>":
            return None
        self.codes.append(code)
        return len(self.codes) - 1

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """Calls made while a fixture is set up are the fixture's, and so its users'."""
        mine: set[int] = set()
        self.fixtures[fixturedef] = mine
        self.open.append(mine)
        try:
            return (yield)
        finally:
            self.open.pop()
            self.open[-1] |= mine

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Calls made while a test is set up, called and torn down are the test's."""
        mine = self.tests.setdefault(item.nodeid, set())
        self.open.append(mine)
        try:
            return (yield)
        finally:
            self.open.pop()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Before the teardown forgets them, add what the test's fixtures ran when they were set up."""
        # No public name lists the fixtures a test used, those asked for by `getfixturevalue` among them.
        request = getattr(item, "_request", None)
        for fixture in getattr(request, "_fixture_defs", {}).values():
            self.tests[item.nodeid] |= self.fixtures.get(fixture, set())
        return (yield)

    def start(self) -> None:
        """Begin to see calls, in this thread and those started later."""
        threading.setprofile(self.profile)
        sys.setprofile(self.profile)

    def pytest_sessionfinish(self) -> None:
        """Stop and write."""
        sys.setprofile(None)
        threading.setprofile(None)
        functions = [[code.co_filename, code.co_qualname, code.co_firstlineno] for code in self.codes]
        tests = {nodeid: sorted(numbers) for nodeid, numbers in self.tests.items()}
        found = {"functions": functions, "tests": tests, "collection": sorted(self.collection)}
        self.path.write_text(json.dumps(found))


def begin() -> Truth | None:
    """Start when the environment names a target: on import, since other plugins may import the package early."""
    target = os.environ.get("PERFBENCH_TRUTH")
    if not target:
        return None
    truth = Truth(Path(target), tuple(os.environ["PERFBENCH_SOURCES"].split(os.pathsep)))
    truth.start()
    return truth


TRUTH = begin()


def pytest_configure(config: pytest.Config) -> None:
    """Follow the session."""
    if TRUTH is not None:
        config.pluginmanager.register(TRUTH, "perfbench-truth-recorder")
