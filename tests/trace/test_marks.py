"""The instructions put into the bytecode on 3.11 to 3.13, over a large part of the standard library."""

from __future__ import annotations

import ast
import dis
import importlib.util
import io
import json
import pickle
import re
import sys
import sysconfig
import textwrap
import threading
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

if sys.version_info >= (3, 14):
    pytest.skip("3.14 and later have sys.monitoring instead of marks", allow_module_level=True)

from pytest_perfcache.trace.codes import SUSPENDS, Codes, Read, is_function, nested
from pytest_perfcache.trace.codestore import CodeStore
from pytest_perfcache.trace.marks import MarkTracer, _Armed, _enter, _enter_in, _enter_on, _leave
from pytest_perfcache.trace.stateful import Stateful

STDLIB = Path(sysconfig.get_path("stdlib"))
FILES = sorted(file for file in STDLIB.rglob("*.py") if not {"test", "site-packages", "lib2to3"} & set(file.parts))[
    4::11
]


def functions(code: CodeType) -> Iterator[CodeType]:
    for inner in nested(code):
        if is_function(inner):
            yield inner
        yield from functions(inner)


class Suspicious(Codes):
    """Holds every function for one that keeps something in its arguments and in variables around it, every other one
    for one that changes globals as well, every tenth for one that keeps something nobody knows where."""

    def read_in(self, path: str, code: CodeType) -> tuple[int, Read]:
        number, read = super().read_in(path, code)
        holders = (*code.co_varnames[: code.co_argcount], *code.co_freevars)
        elsewhere = () if number % 10 else ("elsewhere",)
        self.stateful[number] = Stateful(("KEPT",) * (number % 2), (*holders, *elsewhere))
        return number, read


def pairs() -> Iterator[tuple[CodeType, CodeType]]:
    """Each function of these modules, as compiled and as marked; then as compiled and as watched."""
    for codes in (Codes, Suspicious):
        for file in FILES:
            code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
            yield from zip(functions(code), functions(MarkTracer(codes()).instrument(code, file.name)), strict=True)


@dataclass(frozen=True)
class Listing:
    """A function's instructions without extensions, and without what was put in."""

    code: CodeType
    own: list[dis.Instruction]
    put_in: list[list[dis.Instruction]]

    def index(self, offset: int) -> int:
        """The number of the own instruction that is executed first by whoever goes to ``offset``."""
        return bisect_left(self.own, offset, key=lambda instruction: instruction.offset)

    def handlers(self) -> list[tuple[int, int, int, int, bool]]:
        # dis offers no public way to the parsed table.
        entries: list[Any] = vars(dis)["_parse_exception_table"](self.code)
        return [(self.index(e.start), self.index(e.end), self.index(e.target), e.depth, e.lasti) for e in entries]


JUMP = "POP_JUMP_IF_" if sys.version_info >= (3, 12) else "POP_JUMP_FORWARD_IF_"
ARMED = f"LOAD_CONST TO_BOOL {JUMP}FALSE" if sys.version_info >= (3, 13) else f"LOAD_CONST {JUMP}FALSE"
MARK = f"{ARMED} LOAD_CONST LOAD_CONST LOAD_CONST STORE_SUBSCR LOAD_CONST LOAD_CONST DELETE_SUBSCR"
CALLEE = "LOAD_CONST PUSH_NULL" if sys.version_info >= (3, 13) else "PUSH_NULL LOAD_CONST"
CALL = "PRECALL CALL" if sys.version_info < (3, 12) else "CALL"
TEST = rf"LOAD_CONST LOAD_CONST CONTAINS_OP {JUMP}(TRUE|FALSE) {CALLEE} LOAD_CONST LOAD_CONST"
IN = f" LOAD_CONST {CALLEE} {CALL}"
PUT_IN = re.compile(rf"({MARK}|{TEST}( LOAD_CONST({IN})?( LOAD_FAST| LOAD_DEREF)*)? {CALL} POP_TOP)\b")


def listing(code: CodeType, constants: int | None = None) -> Listing:
    """``constants``: how many the code had before it was marked; what loads later ones was put in."""
    instructions = [i for i in dis.get_instructions(code) if i.opname != "EXTENDED_ARG"]
    if constants is None:
        return Listing(code, instructions, [])
    own: list[dis.Instruction] = []
    put_in: list[list[dis.Instruction]] = []
    while instructions:
        here = " ".join(i.opname for i in instructions[:30])
        found = PUT_IN.match(here)
        count = len(found.group().split()) if found is not None else 0
        loads = [i.arg or 0 for i in instructions[:count] if i.opname == "LOAD_CONST"]
        if loads and min(loads) >= constants:
            put_in.append(instructions[:count])
            del instructions[:count]
        else:
            own.append(instructions.pop(0))
    return Listing(code, own, put_in)


PAIRS = list(pairs())
LISTINGS = [(listing(plain), listing(marked, len(plain.co_consts))) for plain, marked in PAIRS]


def test_there_is_something_to_try() -> None:
    assert len(PAIRS) > 2000
    assert any(plain.co_exceptiontable for plain, _ in PAIRS)
    for told in (_enter, _enter_on, _enter_in):
        assert sum(any(constant is told for constant in marked.co_consts) for _, marked in PAIRS) > 30
    assert any(plain.co_freevars for plain, _ in PAIRS)
    assert any(plain.co_cellvars for plain, _ in PAIRS)


def test_apart_from_what_is_put_in_every_instruction_is_what_it_was() -> None:
    for plain, marked in LISTINGS:
        before = [(i.opname, None if i.opcode in dis.hasjrel else i.arg) for i in plain.own]
        after = [(i.opname, None if i.opcode in dis.hasjrel else i.arg) for i in marked.own]
        assert after == before, plain.code.co_qualname


def test_every_instruction_keeps_its_position_in_the_source() -> None:
    for plain, marked in LISTINGS:
        assert [i.positions for i in marked.own] == [i.positions for i in plain.own], plain.code.co_qualname


def test_lines_stay_where_they_are() -> None:
    for plain, marked in PAIRS:
        before = [line for _, _, line in plain.co_lines() if line is not None]
        after = [line for _, _, line in marked.co_lines() if line is not None]
        assert list(dict.fromkeys(after)) == list(dict.fromkeys(before)), plain.co_qualname


def test_exception_handlers_guard_the_same_instructions() -> None:
    for plain, marked in LISTINGS:
        assert marked.handlers() == plain.handlers(), plain.code.co_qualname


def test_jumps_lead_to_the_same_instructions() -> None:
    for plain, marked in LISTINGS:
        before = [plain.index(i.argval) for i in plain.own if i.opcode in dis.hasjrel]
        after = [marked.index(i.argval) for i in marked.own if i.opcode in dis.hasjrel]
        assert after == before, plain.code.co_qualname


def test_each_function_has_its_mark_and_the_stack_for_it() -> None:
    for plain, marked in LISTINGS:
        for put_in in marked.put_in:
            effects = (dis.stack_effect(i.opcode, i.arg, jump=False) for i in put_in)
            needed = list(accumulate(effects))
            assert max(needed) <= marked.code.co_stacksize - plain.code.co_stacksize, plain.code.co_qualname
            assert needed[-1] == 0
        instructions = [i for i in dis.get_instructions(marked.code) if i.opname != "EXTENDED_ARG"]
        start = next(at for at, i in enumerate(instructions) if i.opname == "RESUME") + 1
        assert " ".join(i.opname for i in instructions[start : start + 10]).startswith(MARK)


def test_what_is_put_in_jumps_behind_itself() -> None:
    jumps = 0
    for _, marked in LISTINGS:
        places = [i.offset for i in dis.get_instructions(marked.code) if i.opname != "EXTENDED_ARG"]
        for put_in in marked.put_in:
            following = places.index(put_in[-1].offset) + 1
            for i in put_in:
                if i.opcode in dis.hasjrel:
                    jumps += 1
                    first = next(at for at in range(i.argval, places[following] + 2, 2) if at in places)
                    assert first == places[following]
    assert jumps > 1000


def test_what_is_put_in_stands_on_the_line_of_what_follows() -> None:
    for plain, marked in LISTINGS:
        own = {i.offset for i in marked.own}
        lines = [place[0] for place in marked.code.co_positions()]
        following = None
        for i in reversed(list(dis.get_instructions(marked.code))):
            if i.offset in own:
                following = lines[i.offset // 2]
            elif i.opname != "EXTENDED_ARG":
                assert lines[i.offset // 2] == following, plain.code.co_qualname


def test_every_return_of_a_watched_function_is_told() -> None:
    for plain, marked in PAIRS:
        if _leave in marked.co_consts:
            index = next(at for at, constant in enumerate(marked.co_consts) if constant is _leave)
            told = [i for i in dis.get_instructions(marked) if i.opname == "LOAD_CONST" and i.arg == index]
            assert len(told) == sum(i.opname.startswith("RETURN_") for i in dis.get_instructions(plain)) - bool(
                plain.co_flags & SUSPENDS
            )


@pytest.mark.parametrize("codes", [Codes, Suspicious])
@pytest.mark.parametrize("size", [*range(28, 44), 5455])
def test_a_jump_that_needs_a_longer_argument_gets_it(codes: type[Codes], size: int) -> None:
    """Jumps of just under 256 units over a return, and of just under 65,536."""
    step = "        if x == 'none': return x\n        x = x + 1\n"
    text = f"def f(x, n):\n    while n:\n        n -= 1\n{step * size}    return x\n"
    plain: dict[str, Any] = {}
    marked: dict[str, Any] = {}
    code = compile(text, "m.py", "exec", dont_inherit=True)
    exec(code, plain)
    exec(MarkTracer(codes()).instrument(code, "m.py"), marked)

    assert marked["f"](0, 3) == plain["f"](0, 3) == 3 * size


def test_what_is_entered_while_somebody_asks_is_told_the_next_time() -> None:
    namespace: dict[str, Any] = {}

    class Interrupted(_Armed):
        """Another thread has its turn as soon as the function is to be noted again."""

        def append(self, number: int) -> None:
            super().append(number)
            if not namespace["turns"]:
                namespace["turns"].append(namespace["f"]())

    tracer = MarkTracer(Codes())
    tracer._armed[0] = Interrupted((0,))
    exec(
        tracer.instrument(compile("turns = []\ndef f(): pass\n", "m.py", "exec", dont_inherit=True), "m.py"), namespace
    )
    namespace["f"]()

    assert (tracer.take(), tracer.take(), tracer.take()) == ([0], [0], [])
    namespace["f"]()
    assert tracer.take() == [0]


def test_no_function_is_lost_between_threads_that_run_it_and_one_that_asks() -> None:
    names = [f"f{number}" for number in range(2000)]  # so that others have their turn while these are gone through
    text = "".join(f"def {name}(): pass\n" for name in names)
    tracer, namespace, done = MarkTracer(Codes()), dict[str, Any](), threading.Event()
    exec(tracer.instrument(compile(text, "m.py", "exec", dont_inherit=True), "m.py"), namespace)
    functions = [namespace[name] for name in names]

    def run() -> None:
        while not done.is_set():
            for function in functions:
                function()

    threads = [threading.Thread(target=run) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        seen = [sorted(tracer.take()) for _ in range(60)]
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    tracer.take()
    for function in functions:
        function()

    assert any(seen)
    assert all(hit == sorted(set(hit)) for hit in seen)
    assert sorted(tracer.take()) == list(range(2000))


def test_jumps_have_grown_in_what_was_tried() -> None:
    step = "        if x: return x\n"
    code = compile(f"def f(x, n):\n    while n:\n        n -= 1\n{step * 20}", "m.py", "exec", dont_inherit=True)
    marked = next(functions(MarkTracer(Suspicious()).instrument(code, "m.py")))

    def extended(code: CodeType) -> int:
        return sum(i.opname == "EXTENDED_ARG" for i in dis.get_instructions(code))

    assert extended(marked) > extended(next(functions(code)))


def test_a_variable_around_that_a_comprehension_has_as_well_is_not_taken_for_an_argument() -> None:
    text = "def g():\n    x = {}\n    def f():\n        x[1] = 1\n        return [x for x in 'ab']\n    return f\n"
    namespace: dict[str, Any] = {}
    exec(MarkTracer(Codes()).instrument(compile(text, "m.py", "exec", dont_inherit=True), "m.py"), namespace)

    assert namespace["g"]()() == ["a", "b"]


@pytest.mark.parametrize("codes", [Codes, Suspicious])
def test_marked_modules_of_the_standard_library_do_what_they_do(codes: type[Codes]) -> None:
    tracer = MarkTracer(codes())

    def marked(name: str) -> Any:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        module = importlib.util.module_from_spec(spec)
        text = Path(spec.origin).read_bytes()
        exec(tracer.instrument(compile(text, spec.origin, "exec", dont_inherit=True), name), vars(module))
        return module

    data = {"a": [1, 2.5, None, {"b": "\N{SNOWMAN}"}], "c": "x" * 300}
    assert marked("json.decoder").JSONDecoder().decode(json.dumps(data)) == data
    assert "".join(marked("json.encoder").JSONEncoder(indent=2).iterencode(data)) == json.dumps(data, indent=2)
    tree = ast.parse(Path(textwrap.__file__).read_text())
    assert marked("ast").unparse(tree) == ast.unparse(tree)
    assert marked("textwrap").fill("some words " * 30, 40) == textwrap.fill("some words " * 30, 40)
    assert marked("heapq").nlargest(2, [3, 1, 2]) == [3, 2]
    parser = marked("argparse").ArgumentParser(exit_on_error=False)
    parser.add_argument("--many", nargs="*", type=int)
    assert parser.parse_args(["--many", "1", "2"]).many == [1, 2]
    assert next(marked("tokenize").generate_tokens(io.StringIO("x = [\n1]\n").readline)).string == "x"
    assert len(tracer.take()) > 100


def test_what_is_no_function_is_left_as_it_is() -> None:
    code = compile("class C:\n    x = [y for y in ()]\n", "m.py", "exec")
    marked = MarkTracer(Codes()).instrument(code, "m.py")

    assert marked.co_code == code.co_code
    assert next(nested(marked)).co_code == next(nested(code)).co_code


def test_the_dictionary_in_the_constants_can_be_pickled_and_then_marks_into_the_void() -> None:
    tracer = MarkTracer(Codes())
    namespace: dict[str, Any] = {}
    exec(tracer.instrument(compile("def f(): ...", "m.py", "exec"), "m.py"), namespace)
    hits = next(c for c in namespace["f"].__code__.co_consts if isinstance(c, dict))
    namespace["f"]()

    assert pickle.loads(pickle.dumps(hits)) == {}
    assert tracer.take() == [0]


def _constants(code: CodeType) -> list[object]:
    """The constants of code and of the code in it, with what belongs to a tracer by its kind."""
    found: list[object] = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.append((constant.co_qualname, constant.co_code, constant.co_linetable, _constants(constant)))
        else:
            plain = isinstance(constant, int | str | bytes | float | complex | tuple | frozenset | type(None))
            found.append(constant if plain or constant is ... or callable(constant) else type(constant).__name__)
    return found


def _module(name: str) -> CodeType:
    return compile((STDLIB / name).read_text("utf-8"), name, "exec")


@pytest.mark.parametrize("name", ["argparse.py", "contextlib.py", "dataclasses.py", "asyncio/tasks.py", "typing.py"])
def test_code_that_was_kept_is_the_code_that_would_be_marked(name: str, tmp_path: Path) -> None:
    plain, known = _module(name), []
    for _ in range(2):
        codes = Codes()
        tracer = MarkTracer(codes, CodeStore(str(tmp_path)))
        code = tracer.instrument(plain, name)
        known.append(
            (
                code.co_code,
                _constants(code),
                codes.names,
                codes.imports,
                codes.reflective,
                codes.looks_at_lines,
                codes.stateful,
                codes.steps,
                codes.mentions,
            )
        )
        tracer.close()
    assert list((tmp_path / "code").iterdir())
    assert known[0] == known[1]


def test_functions_of_kept_code_are_seen_and_can_be_watched(tmp_path: Path) -> None:
    code = compile("def one():\n    return 1\ndef two():\n    return 2\n", "m.py", "exec")
    MarkTracer(Codes(), CodeStore(str(tmp_path))).instrument(code, "m.py")
    for _ in range(2):
        codes = Codes()
        tracer = MarkTracer(codes, CodeStore(str(tmp_path)))
        namespace: dict[str, Any] = {}
        exec(tracer.instrument(code, "m.py"), namespace)
        namespace["two"]()
        assert [codes.names[number] for number in tracer.take()] == [("m.py", "two")]
        assert tracer.watch(namespace["one"]) == codes.enter("m.py", "one")
        tracer.close()


@pytest.mark.parametrize("keep", [0, 10, 40, 200])
def test_kept_code_that_is_damaged_is_marked_anew(keep: int, tmp_path: Path) -> None:
    code = _module("contextlib.py")
    first = MarkTracer(Codes(), CodeStore(str(tmp_path)))
    expected = first.instrument(code, "contextlib.py")
    first.close()
    (file,) = (tmp_path / "code").iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    assert CodeStore(str(tmp_path)).get("contextlib.py", code) is None
    again = MarkTracer(Codes(), CodeStore(str(tmp_path))).instrument(code, "contextlib.py")
    assert again.co_code == expected.co_code


def test_kept_code_counts_for_the_same_code_alone(tmp_path: Path) -> None:
    store = CodeStore(str(tmp_path))
    store.put("m.py", compile("a = 1", "m.py", "exec"), "what was kept")
    store.flush()
    assert store.get("m.py", compile("a = 1", "m.py", "exec")) == "what was kept"
    assert store.get("m.py", compile("a = 2", "m.py", "exec")) is None
    assert store.get("other.py", compile("a = 1", "m.py", "exec")) is None


def test_nothing_is_written_where_the_cache_has_no_directory(tmp_path: Path) -> None:
    store = CodeStore(str(tmp_path / "none"))
    store.put("m.py", compile("a = 1", "m.py", "exec"), 1)
    store.flush()
    assert list(tmp_path.iterdir()) == []
