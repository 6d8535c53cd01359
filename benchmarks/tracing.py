"""`python -m benchmarks tracing`: what seeing calls costs, as ratios within one run.

*A call*: an empty function in a loop. *A test*: 200 functions of the project and 400 of libraries that do a little
work, each called five times, and then the look at which were entered, as it is taken after each test. All ways take
turns in every round, and the ratio is taken within the round; the median over the rounds is told. Beside ours: what
the interpreter's own means cost.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from types import CodeType
from typing import Any

from benchmarks.tables import table
from pytest_perfcache.trace import monitor
from pytest_perfcache.trace.calls import CallTracer, call_tracer
from pytest_perfcache.trace.codes import Codes, nested

FUNCTIONS = 200
LIBRARY = 400
_WORK = "    total = 0\n    for i in range(8):\n        total += i * i\n    return total\n"
PROGRAM = (
    "def empty():\n    pass\n"
    + "".join(f"def f{number}():\n{_WORK}" for number in range(FUNCTIONS))
    + "def calls(count):\n    for _ in range(count):\n        empty()\n"
    + "def test(times):\n    for _ in range(times):\n        library()\n"
    + "".join(f"        f{number}()\n" for number in range(FUNCTIONS))
)
OTHERS = (
    "".join(f"def g{number}():\n{_WORK}" for number in range(LIBRARY))
    + "def library():\n"
    + "".join(f"    g{number}()\n" for number in range(LIBRARY))
)
"""Code that is not the project's: no tracer is told of it."""
CALLS = 100_000
TIMES = 5
Program = dict[str, Any]
Look = Callable[[], object]


def load(instrument: Callable[[CodeType], CodeType] = lambda code: code) -> Program:
    """The program, its code passed through `instrument` before it is executed."""
    namespace: Program = {}
    exec(OTHERS, namespace)
    exec(instrument(compile(PROGRAM, "program.py", "exec", dont_inherit=True)), namespace)
    return namespace


@contextmanager
def ours() -> Iterator[tuple[Program, Look]]:
    """The tracer of this interpreter."""
    with traced_by(call_tracer(Codes())) as found:
        yield found


@contextmanager
def local_events() -> Iterator[tuple[Program, Look]]:
    """Our tracer for interpreters whose bytecode we do not know: local events that are armed one by one."""
    tracer = getattr(monitor, "MonitorTracer").acquire(Codes())  # noqa: B009 - for type checkers on 3.11
    with traced_by(tracer) as found:
        yield found


@contextmanager
def traced_by(tracer: CallTracer | None) -> Iterator[tuple[Program, Look]]:
    """One of our tracers; RuntimeError where other tools left no place for it."""
    if tracer is None:
        raise RuntimeError("every tool id is taken")
    try:
        yield load(lambda code: tracer.instrument(code, "program.py")), tracer.take
    finally:
        tracer.close()


@contextmanager
def plain() -> Iterator[tuple[Program, Look]]:
    """Nothing is traced."""
    yield load(), lambda: None


@contextmanager
def trace_function() -> Iterator[tuple[Program, Look]]:
    """`sys.settrace` with a function that looks at calls only."""
    program, seen, before = load(), set[CodeType](), sys.gettrace()
    sys.settrace(lambda frame, _event, _arg: seen.add(frame.f_code))
    try:
        yield program, seen.clear
    finally:
        sys.settrace(before)


@contextmanager
def steady_events() -> Iterator[tuple[Program, Look]]:
    """`sys.monitoring` with local events that are never switched off, so that no look needs to arm them."""
    monitoring: Any = getattr(sys, "monitoring")  # noqa: B009 - for type checkers on 3.11
    seen, tool = set[CodeType](), 3

    def arm(code: CodeType) -> CodeType:
        for inner in nested(code):
            monitoring.set_local_events(tool, inner, monitoring.events.PY_START)
        return code

    monitoring.use_tool_id(tool, "benchmark")
    monitoring.register_callback(tool, monitoring.events.PY_START, lambda code, _offset: seen.add(code))
    try:
        yield load(arm), seen.clear
    finally:
        monitoring.register_callback(tool, monitoring.events.PY_START, None)
        monitoring.free_tool_id(tool)


@contextmanager
def global_events() -> Iterator[tuple[Program, Look]]:
    """`sys.monitoring` with global events and `restart_events` for each test."""
    monitoring: Any = getattr(sys, "monitoring")  # noqa: B009 - for type checkers on 3.11
    program, seen, tool = load(), set[CodeType](), 3

    def started(code: CodeType, _offset: int) -> object:
        seen.add(code)
        return monitoring.DISABLE

    def look() -> None:
        seen.clear()
        monitoring.restart_events()

    monitoring.use_tool_id(tool, "benchmark")
    monitoring.register_callback(tool, monitoring.events.PY_START, started)
    monitoring.set_events(tool, monitoring.events.PY_START)
    try:
        yield program, look
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)


def ways() -> dict[str, Callable[[], Any]]:
    """What is compared on this interpreter; the first is the base."""
    own = {"plain": plain, "ours": ours}
    if hasattr(sys, "monitoring"):
        return {
            **own,
            "local events, armed one by one": local_events,
            "local events, never switched off": steady_events,
            "global events, restarted": global_events,
        }
    return {**own, "trace function, calls only": trace_function}


def measure(way: Callable[[], Any]) -> tuple[float, float]:
    """Seconds for a call and for a test."""
    with way() as (program, look):
        program["calls"](100)
        program["test"](1)
        look()
        start = time.perf_counter()
        program["calls"](CALLS)
        middle = time.perf_counter()
        for _ in range(10):
            program["test"](TIMES)
            look()
        end = time.perf_counter()
    return (middle - start) / CALLS, (end - middle) / 10


def main(arguments: list[str]) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tracing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(arguments)
    rounds = [{name: measure(way) for name, way in ways().items()} for _ in range(options.rounds)]

    def ratio(name: str, at: int) -> str:
        return f"{median(found[name][at] / found['plain'][at] for found in rounds):.2f}"

    def added(name: str, at: int, scale: float) -> str:
        return f"{median(found[name][at] - found['plain'][at] for found in rounds) * scale:.0f}"

    print(f"Python {sys.version.split()[0]}, {options.rounds} rounds")
    rows = [(n, ratio(n, 0), added(n, 0, 1e9), ratio(n, 1), added(n, 1, 1e6)) for n in rounds[0]]
    print(table(("", "a call", "+ ns", "a test", "+ µs"), rows))
    return 0
