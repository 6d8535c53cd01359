"""The four instructions put into the bytecode on 3.11, over a large part of the standard library."""

from __future__ import annotations

import dis
import pickle
import sys
import sysconfig
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

if getattr(sys, "monitoring", None) is not None:
    pytest.skip("3.12 and later have sys.monitoring instead of marks", allow_module_level=True)

from pytest_perfcache.trace.codes import Codes, is_function, nested
from pytest_perfcache.trace.marks import MarkTracer, _enter_on

STDLIB = Path(sysconfig.get_path("stdlib"))
FILES = sorted(file for file in STDLIB.rglob("*.py") if not {"test", "site-packages", "lib2to3"} & set(file.parts))[
    4::11
]


def functions(code: CodeType) -> Iterator[CodeType]:
    for inner in nested(code):
        if is_function(inner):
            yield inner
        yield from functions(inner)


def pairs() -> Iterator[tuple[CodeType, CodeType]]:
    """Each function of these modules, as compiled and as marked."""
    for file in FILES:
        code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
        yield from zip(functions(code), functions(MarkTracer(Codes()).instrument(code, file.name)), strict=True)


@dataclass(frozen=True)
class Listing:
    """A function's instructions without extensions, and without what was put in."""

    code: CodeType
    own: list[dis.Instruction]

    def index(self, offset: int) -> int:
        """The number of the own instruction that is executed first by whoever goes to ``offset``."""
        return bisect_left(self.own, offset, key=lambda instruction: instruction.offset)

    def handlers(self) -> list[tuple[int, int, int, int, bool]]:
        # dis offers no public way to the parsed table in 3.11.
        entries: list[Any] = vars(dis)["_parse_exception_table"](self.code)
        return [(self.index(e.start), self.index(e.end), self.index(e.target), e.depth, e.lasti) for e in entries]


MARK = ["LOAD_CONST", "LOAD_CONST", "LOAD_CONST", "STORE_SUBSCR"]
CALL = ["PUSH_NULL", "LOAD_CONST", "LOAD_CONST", "LOAD_CONST", "PRECALL", "CALL", "POP_TOP"]
CALL_ON = [*CALL[:4], "LOAD_FAST", *CALL[4:]]


def listing(code: CodeType, constants: int | None = None) -> Listing:
    """``constants``: how many the code had before it was marked; what loads later ones was put in."""
    instructions = [i for i in dis.get_instructions(code) if i.opname != "EXTENDED_ARG"]
    own: list[dis.Instruction] = []
    at = 0
    while at < len(instructions):
        for put_in, first in ((MARK, 0), (CALL, 1), (CALL_ON, 1)):
            here = instructions[at : at + len(put_in)]
            new = constants is not None and len(here) > first and (here[first].arg or 0) >= constants
            if new and [i.opname for i in here] == put_in:
                at += len(put_in)
                break
        else:
            own.append(instructions[at])
            at += 1
    return Listing(code, own)


PAIRS = list(pairs())
LISTINGS = [(listing(plain), listing(marked, len(plain.co_consts))) for plain, marked in PAIRS]


def test_there_is_something_to_try() -> None:
    assert len(PAIRS) > 1000
    assert any(plain.co_exceptiontable for plain, _ in PAIRS)
    assert any(constant is _enter_on for _, marked in PAIRS for constant in marked.co_consts)
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
    for plain, marked in PAIRS:
        assert marked.co_stacksize >= max(3, plain.co_stacksize)
        instructions = [i for i in dis.get_instructions(marked) if i.opname != "EXTENDED_ARG"]
        start = next(at for at, i in enumerate(instructions) if i.opname == "RESUME") + 1
        assert [i.opname for i in instructions[start : start + 4]] == MARK


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
