"""Which functions were entered: the same for each means of tracing that this interpreter has."""

from __future__ import annotations

import dis
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, SimpleNamespace
from typing import Any

import pytest

from pytest_perfcache.model import enclosing_name
from pytest_perfcache.trace.calls import CallTracer, call_tracer
from pytest_perfcache.trace.codes import Codes, Read
from pytest_perfcache.trace.stateful import Stateful
from tests.trace.programs import PROGRAMS


class Traced:
    """A tracer with what is needed to run a text under it."""

    def __init__(self) -> None:
        self.codes = Codes()
        found = call_tracer(self.codes)
        assert found is not None
        self.tracer: CallTracer = found

    def run(self, text: str) -> dict[str, Any]:
        namespace: dict[str, Any] = {"__name__": "program"}
        exec(self.tracer.instrument(compiled(text), "m.py"), namespace)
        return namespace

    def entered(self) -> set[str]:
        return {self.codes.names[number][1] for number in self.tracer.take()}


@pytest.fixture
def traced() -> Iterator[Traced]:
    traced = Traced()
    yield traced
    traced.tracer.close()


def compiled(text: str) -> CodeType:
    return compile(text, "m.py", "exec", dont_inherit=True)


def plainly(text: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "program"}
    exec(compiled(text), namespace)
    return namespace["result"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_traced_program_does_the_same_and_says_which_functions_it_entered(traced: Traced, name: str) -> None:
    text, functions = PROGRAMS[name]

    assert traced.run(text)["result"] == plainly(text)
    assert traced.entered() == set(map(enclosing_name, functions))


def test_nothing_is_entered_before_it_is_called(traced: Traced) -> None:
    traced.run("def f(): ...\nclass C:\n    def m(self): ...\n")

    assert traced.entered() == set()


def test_a_function_is_seen_once_after_each_look_however_often_it_is_called(traced: Traced) -> None:
    f = traced.run("def f(): ...")["f"]
    seen = []
    for _ in range(3):
        f()
        f()
        seen.append(traced.tracer.take())

    assert seen == [[0], [0], [0]]
    assert traced.tracer.take() == []


def test_a_generator_that_goes_on_after_a_look_is_seen_again(traced: Traced) -> None:
    running = traced.run("def g():\n    yield 1\n    yield 2\n")["g"]()
    seen = []
    for _ in range(2):
        next(running)
        seen.append(traced.entered())

    assert seen == [{"g"}, {"g"}]


def test_a_call_in_another_thread_is_seen(traced: Traced) -> None:
    f = traced.run("def f(): ...")["f"]
    thread = threading.Thread(target=f)
    thread.start()
    thread.join()

    assert traced.entered() == {"f"}


def test_a_tool_that_turns_tracing_off_does_not_hide_calls(traced: Traced) -> None:
    f = traced.run("def f(): ...")["f"]
    before = sys.gettrace()
    sys.settrace(None)
    sys.setprofile(None)
    f()
    sys.settrace(before)

    assert traced.entered() == {"f"}


def test_traced_functions_look_like_any_other(traced: Traced) -> None:
    text = "def f(a, /, b: int = 2, *c, d, **e) -> str:\n    'doc'\n    return a\nclass C:\n    async def m(self): ..."
    ours = traced.run(text)
    plain: dict[str, Any] = {}
    exec(compiled(text), plain)

    for mine, other in ((ours["f"], plain["f"]), (ours["C"].m, plain["C"].m)):
        assert inspect.signature(mine) == inspect.signature(other)
        assert mine.__doc__ == other.__doc__
        for name in (
            "co_varnames",
            "co_freevars",
            "co_cellvars",
            "co_names",
            "co_flags",
            "co_firstlineno",
            "co_qualname",
        ):
            assert getattr(mine.__code__, name) == getattr(other.__code__, name)
        assert hash(mine.__code__) is not None


def test_an_error_points_to_the_same_place(traced: Traced) -> None:
    text = "def f(x):\n    y = 1\n    return (x +\n        1 / 0)\n"

    def place(f: Any) -> object:
        with pytest.raises(ZeroDivisionError) as caught:
            f(1)
        tb = caught.tb.tb_next
        assert tb is not None
        return list(tb.tb_frame.f_code.co_positions())[tb.tb_lasti // 2]

    plain: dict[str, Any] = {}
    exec(compiled(text), plain)
    assert place(traced.run(text)["f"]) == place(plain["f"])


def test_a_line_tracer_sees_the_lines_that_it_would_see(traced: Traced) -> None:
    text = "def f(x):\n    y = [\n        x,\n    ]\n    for z in y:\n        pass\n    return z\n"

    def lines(f: Any) -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []

        def trace(frame: Any, event: str, _arg: object) -> Any:
            if frame.f_code.co_name == "f":
                seen.append((event, frame.f_lineno))
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            f(1)
        finally:
            sys.settrace(before)
        return seen

    plain: dict[str, Any] = {}
    exec(compiled(text), plain)
    assert lines(traced.run(text)["f"]) == lines(plain["f"])


def line_events(run: Callable[[], object], traced_by: str) -> list[tuple[str, str, int]]:
    """What a line tracer is told of ``m.py`` while ``run`` runs."""
    seen: list[tuple[str, str, int]] = []

    def trace(frame: Any, event: str, _arg: object) -> Any:
        if frame.f_code.co_filename == "m.py":
            seen.append((frame.f_code.co_qualname, event, frame.f_lineno))
        return trace

    def line(code: CodeType, number: int) -> None:
        if code.co_filename == "m.py":
            seen.append((code.co_qualname, "line", number))

    if traced_by == "settrace":
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            run()
        finally:
            sys.settrace(before)
        return seen
    monitoring: Any = vars(sys)["monitoring"]
    monitoring.use_tool_id(monitoring.DEBUGGER_ID, "lines")
    try:
        monitoring.register_callback(monitoring.DEBUGGER_ID, monitoring.events.LINE, line)
        monitoring.set_events(monitoring.DEBUGGER_ID, monitoring.events.LINE)
        run()
    finally:
        monitoring.set_events(monitoring.DEBUGGER_ID, 0)
        monitoring.register_callback(monitoring.DEBUGGER_ID, monitoring.events.LINE, None)
        monitoring.free_tool_id(monitoring.DEBUGGER_ID)
    return seen


class Suspicious(Codes):
    """Holds every function for one that keeps something."""

    def read_in(self, path: str, code: CodeType) -> tuple[int, Read]:
        number, read = super().read_in(path, code)
        self.stateful[number] = Stateful(holders=code.co_varnames[: min(1, code.co_argcount)])
        return number, read


@pytest.mark.parametrize("codes", [Codes, Suspicious])
@pytest.mark.parametrize("traced_by", ["settrace", *(["monitoring"] if hasattr(sys, "monitoring") else [])])
@pytest.mark.parametrize("name", sorted(PROGRAMS.keys() - {"coroutine"}))
def test_tracers_of_lines_see_the_same_events_in_every_program(name: str, traced_by: str, codes: type[Codes]) -> None:
    plain = compiled(PROGRAMS[name][0])
    tracer = call_tracer(codes())
    assert tracer is not None
    traced = tracer.instrument(plain, "m.py")
    try:
        after = line_events(lambda: exec(traced, {"__name__": "program"}), traced_by)
    finally:
        tracer.close()

    assert after == line_events(lambda: exec(plain, {"__name__": "program"}), traced_by)
    assert after


class Heard:
    """Scopes that write down what they are told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.asked: list[dict[str, object]] = []
        self.namespaces: list[dict[str, Any] | None] = []

    def enter(self, number: int, frame: object) -> None:  # noqa: ARG002 - the protocol's
        self.told.append("enter")

    def leave(self, number: int) -> None:  # noqa: ARG002 - the protocol's
        self.told.append("leave")

    def meets(
        self,
        number: int,  # noqa: ARG002 - the protocol's
        names: tuple[str, ...],
        values: tuple[object, ...],
        outer: tuple[str, ...] = (),
        namespace: dict[str, Any] | None = None,
    ) -> bool:
        told = dict(zip(names, values, strict=True))
        self.asked.append(told | {"outer": outer} if outer else told)
        self.namespaces.append(namespace)
        return False

    @property
    def loose(self) -> tuple[int, ...]:
        return ()

    @property
    def met_here(self) -> dict[int, Callable[[], object]]:
        return {}


@pytest.mark.parametrize(
    "returns",
    [
        "return x",
        "return x or 0",
        "return 1 if x else 2",
        "for y in [x]:\n        return y",
        "pass",
        "try: return x\n    finally: x = 0",
    ],
)
@pytest.mark.parametrize("argument", [0, 1])
def test_the_start_and_every_return_of_a_function_that_keeps_something_are_heard(
    traced: Traced, returns: str, argument: int
) -> None:
    heard = traced.tracer.scopes = Heard()
    f = traced.run(f"KEPT = {{}}\ndef f(x):\n    KEPT[x] = x\n    {returns}\n")["f"]
    f(argument)
    assert heard.told == ["enter"]

    traced.tracer.awaited.update(range(9))
    f(argument)
    assert heard.told == ["enter", "enter", "leave"]

    traced.tracer.awaited.clear()
    f(argument)
    assert heard.told == ["enter", "enter", "leave", "enter"]


def test_the_start_of_a_busy_function_is_not_told(traced: Traced) -> None:
    heard = traced.tracer.scopes = Heard()
    f = traced.run("KEPT = {}\ndef f(x):\n    KEPT[x] = x\n")["f"]
    traced.tracer.busy.update(range(9))
    f(1)
    assert not heard.told

    traced.tracer.busy.clear()
    if sys.version_info < (3, 14):  # there it is heard again once what ran was asked for
        f(1)
        assert heard.told == ["enter"]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="events do not tell arguments")
@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("if y.found: return\n    y.found = x", [["y"]]),
        ("if x.found: return\n    x.found = y", [["x"]]),
        ("if x.found or y.found: return\n    x.found = y.found = 1", [["x", "y"]]),
        ("if y.found: return\n    y.found = lambda: y", [["y"]]),
        ("global KEPT\n    KEPT = x", [[]]),
        ("nonlocal z\n    z = x", [["z"]]),
        ("nonlocal z\n    if x.found: return\n    z = x.found = 1", [["x", "z"]]),
        ("if z.found: return\n    z.found = [z for z in 'ab']", [["z"]]),
    ],
)
def test_the_arguments_that_may_keep_something_are_told_with_the_start(
    traced: Traced, body: str, asked: list[list[str]]
) -> None:
    heard = traced.tracer.scopes = Heard()
    namespace = traced.run(f"def around(z):\n  def f(x, y):\n    {body}\n  return f\n")
    x, y, z = (SimpleNamespace(name=name, found=0) for name in "xyz")
    namespace["around"](z)(x, y)

    outer = {"outer": ("z",)} if any("z" in names for names in asked) else {}
    assert heard.asked == [{name: {"x": x, "y": y, "z": z}[name] for name in names} | outer for names in asked]
    assert heard.namespaces in ([None], [namespace])
    assert (heard.namespaces == [namespace]) == ("global" in body or bool(outer))


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="events do not tell arguments")
def test_a_variable_around_without_a_value_is_told_as_none(traced: Traced) -> None:
    heard = traced.tracer.scopes = Heard()
    text = "def around():\n  def f():\n    nonlocal z\n    z = 1\n  f()\n  z = 2\naround()\n"
    traced.run(text)

    assert heard.asked == [{"z": None, "outer": ("z",)}]


def test_after_the_end_the_code_runs_on_unseen(traced: Traced) -> None:
    f = traced.run("def f(): return 1")["f"]
    traced.tracer.close()

    assert f() == 1
    assert traced.tracer.take() in ([], [0])


def test_disassembling_traced_code_works(traced: Traced) -> None:
    f = traced.run("def f(x):\n    return x\n")["f"]

    assert [i.opname for i in dis.get_instructions(f)]
