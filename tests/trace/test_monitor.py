"""Calls by sys.monitoring: what is particular to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_perfcache.trace import monitor
from pytest_perfcache.trace.codes import Codes

MONITORING: Any = getattr(sys, "monitoring", None)
if MONITORING is None:
    pytest.skip("sys.monitoring came with 3.12", allow_module_level=True)

MonitorTracer: Any = getattr(monitor, "MonitorTracer")  # noqa: B009 - for type checkers on 3.11
TOOLS = range(6)


@pytest.fixture
def tracer() -> Iterator[Any]:
    tracer = MonitorTracer.acquire(Codes())
    assert tracer is not None
    yield tracer
    tracer.close()


@pytest.fixture
def every_tool() -> Iterator[list[int]]:
    """All tool ids that were free, taken by somebody else."""
    taken = [tool for tool in TOOLS if MONITORING.get_tool(tool) is None]
    for tool in taken:
        MONITORING.use_tool_id(tool, "somebody else")
    yield taken
    for tool in taken:
        if MONITORING.get_tool(tool) == "somebody else":
            MONITORING.free_tool_id(tool)


def held() -> list[int]:
    return [tool for tool in TOOLS if MONITORING.get_tool(tool) == "pytest-perfcache"]


def function(tracer: Any) -> Any:
    namespace: dict[str, Any] = {}
    exec(tracer.instrument(compile("def f(): ...", "m.py", "exec"), "m.py"), namespace)
    return namespace["f"]


def test_no_event_is_on_for_code_that_is_not_the_projects(tracer: Any) -> None:
    function(tracer)

    assert MONITORING.get_events(held()[0]) == 0
    assert MONITORING.get_local_events(held()[0], test_no_event_is_on_for_code_that_is_not_the_projects.__code__) == 0


def test_the_tool_id_is_free_again_after_the_end(tracer: Any) -> None:
    before = held()
    tracer.close()

    assert len(before) == 1
    assert held() == []


def test_without_a_free_tool_id_there_is_no_tracer(every_tool: list[int]) -> None:
    assert MonitorTracer.acquire(Codes()) is None


def test_a_tool_id_that_somebody_took_is_noticed_and_left_to_them(tracer: Any) -> None:
    f = function(tracer)
    f()
    tool = held()[0]
    MONITORING.free_tool_id(tool)
    MONITORING.use_tool_id(tool, "thief")

    assert not tracer.intact()
    tracer.take()
    tracer.close()
    assert MONITORING.get_tool(tool) == "thief"
    MONITORING.free_tool_id(tool)


def test_looking_does_not_wake_the_events_of_other_tools(tracer: Any) -> None:
    f = function(tracer)
    other = next(tool for tool in TOOLS if MONITORING.get_tool(tool) is None)
    seen: list[object] = []

    def started(code: object, _offset: int) -> object:
        seen.append(code)
        return MONITORING.DISABLE

    start = MONITORING.events.PY_START
    MONITORING.use_tool_id(other, "another")
    try:
        MONITORING.register_callback(other, start, started)
        MONITORING.set_local_events(other, f.__code__, start)
        for _ in range(3):
            f()
            assert tracer.take() == [0]
    finally:
        MONITORING.set_local_events(other, f.__code__, 0)
        MONITORING.register_callback(other, start, None)
        MONITORING.free_tool_id(other)

    assert len(seen) == 1
