"""What the worker's side reads from collected items, and how it heeds the stop."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_perfcache.schedule.jobs import SESSION, Claim
from pytest_perfcache.schedule.meta import ResourceError, TestMeta, decode
from pytest_perfcache.schedule.xdist_worker import LINK, STOP, PauseItem, WorkerSide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SUITE = """
import pytest
from pytest_perfcache import claims

pytestmark = pytest.mark.parallel_safe

@pytest.fixture(scope="module")
@claims("server")
@claims("port", amount=1)
def server(): ...

@pytest.fixture
@claims("screen")
def screen(): ...

@pytest.fixture(scope="session")
def everywhere(): ...

@pytest.fixture(scope="class")
def in_class(): ...

@pytest.mark.resource("db", shared=True)
def test_plain(server, everywhere): ...

def test_screen(screen): ...

@pytest.mark.resource("db")
class TestGroup:
    @pytest.mark.xdist_group("one")
    @pytest.mark.serial
    @pytest.mark.parametrize("i", range(2))
    def test_it(self, in_class, i): ...

def test_class_scope_without_a_class(in_class): ...

@pytest.fixture(scope="session", params="ab")
@claims("engine")
def engine(request): ...

@pytest.mark.parametrize("i", range(2))
def test_engine(engine, i): ...
"""


class MockLink:
    """The worker's end of the link; it may send the stop after some tests have begun."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.sent: list[Any] = []
        self.callback: Callable[[object], None] = self.sent.append
        self.stop_after = stop_after

    def send(self, message: object) -> None:
        self.sent.append(message)

    def setcallback(self, callback: Callable[[object], None]) -> None:
        self.callback = callback


class Worker:
    """A plugin that makes a run in this process look like a worker to `WorkerSide`."""

    def __init__(self, link: MockLink) -> None:
        self.link = link
        self.items: list[pytest.Item] = []
        self.called: list[str] = []
        self.shouldstop: object = False

    def pytest_configure(self, config: pytest.Config) -> None:
        for mark in ("resource", "serial", "parallel_safe"):
            config.addinivalue_line("markers", f"{mark}: scheduling")
        cast("Any", config).workerinput = {LINK: self.link}
        config.pluginmanager.register(WorkerSide(config))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        self.items = list(session.items)

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self.called.append(item.name)
        if len(self.called) == self.link.stop_after:
            self.link.callback(STOP)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.shouldstop = session.shouldstop


def run(path: Path, link: MockLink, text: str = SUITE) -> Worker:
    (path / "pytest.ini").write_text("[pytest]\n")
    (path / f"test_{path.name}.py").write_text(text)  # the process keeps imported modules by name
    worker = Worker(link)
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:perfcache",
        "-p",
        "no:xdist",
        "--import-mode=importlib",
        f"--rootdir={path}",
    ]
    marks = ["-o", "markers=xdist_group: scheduling"]
    pytest.main([*options, *marks, "-c", str(path / "pytest.ini"), str(path)], plugins=[worker])
    return worker


@pytest.fixture
def metas(tmp_path: Path) -> dict[str, TestMeta]:
    link = MockLink()
    run(tmp_path, link)
    (message,) = link.sent
    json.dumps(message)
    return {meta.nodeid.split("::", 1)[1]: meta for meta in decode(message)}


def test_marks_and_fixtures_claim_resources(metas: dict[str, TestMeta]) -> None:
    file = metas["test_plain"].file
    assert set(metas["test_plain"].claims) == {
        Claim("db", shared=True),
        Claim("server", holder="server", scope=file),
        Claim("port", amount=1, holder="server", scope=file),
    }
    assert metas["test_screen"].claims == (Claim("screen"),)
    assert metas["TestGroup::test_it[0]"].claims == (Claim("db"),)


def test_shared_fixtures_are_told_with_the_collector_they_live_in(metas: dict[str, TestMeta]) -> None:
    file = metas["test_plain"].file
    assert ("server", file) in metas["test_plain"].fixtures
    assert ("everywhere", SESSION) in metas["test_plain"].fixtures
    assert ("in_class", f"{file}::TestGroup") in metas["TestGroup::test_it[0]"].fixtures
    assert ("in_class", file) in metas["test_class_scope_without_a_class"].fixtures
    assert "screen" not in dict(metas["test_screen"].fixtures)


def test_every_scope_of_a_fixture_is_one_the_test_lies_in(metas: dict[str, TestMeta]) -> None:
    for meta in metas.values():
        assert meta.scopes[0] == SESSION
        assert {scope for _, scope in meta.fixtures} <= set(meta.scopes)
        assert meta.nodeid.startswith(f"{meta.file}::")


def test_values_of_a_parametrized_fixture_are_scopes_and_hold_its_resource_in_its_own(
    metas: dict[str, TestMeta],
) -> None:
    engines = [meta for name, meta in metas.items() if name.startswith("test_engine")]
    assert Counter(dict(meta.fixtures)["engine"] for meta in engines) == {
        f"{SESSION} with engine 0": 2,
        f"{SESSION} with engine 1": 2,
    }
    assert {meta.claims for meta in engines} == {(Claim("engine", holder="engine", scope=SESSION),)}


def test_group_serial_and_parallel_safe(metas: dict[str, TestMeta]) -> None:
    grouped = metas["TestGroup::test_it[1]"]
    assert (grouped.group, grouped.alone, grouped.parallel_safe) == ("one", True, True)
    plain = metas["test_plain"]
    assert (plain.group, plain.alone, plain.parallel_safe) == ("", False, True)


def test_the_pause_comes_after_all_tests_and_runs_nothing(tmp_path: Path) -> None:
    worker = run(tmp_path, MockLink())
    assert [isinstance(item, PauseItem) for item in worker.items] == [False] * 9 + [True]
    assert len(worker.called) == 9


def test_after_the_stop_no_test_begins(tmp_path: Path) -> None:
    worker = run(tmp_path, MockLink(stop_after=2))
    assert len(worker.called) == 2
    assert worker.shouldstop


def test_what_was_set_up_when_the_stop_came_is_still_torn_down(tmp_path: Path) -> None:
    text = """
import pathlib, pytest

@pytest.fixture(scope="module")
def shared():
    yield
    pathlib.Path(__file__).with_name("torn_down").touch()

@pytest.mark.parametrize("i", range(3))
def test_it(shared, i): ...
"""
    worker = run(tmp_path, MockLink(stop_after=1), text)
    assert len(worker.called) == 1
    assert (tmp_path / "torn_down").exists()


def test_a_mark_that_cannot_be_used_is_told_with_the_test(tmp_path: Path) -> None:
    link = MockLink()
    run(tmp_path, link, "import pytest\n@pytest.mark.resource('a', count=1)\ndef test_bad(): ...\n")
    with pytest.raises(ResourceError, match=r"\.py::test_bad: resource takes one name"):
        decode(link.sent[0])
