"""The four instructions put into the bytecode on 3.11, over a large part of the standard library."""

from __future__ import annotations

import dis
import pickle
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

if getattr(sys, "monitoring", None) is not None:
    pytest.skip("3.12 and later have sys.monitoring instead of marks", allow_module_level=True)

from pytest_perfcache.trace.codes import Codes, is_function, nested
from pytest_perfcache.trace.marks import MarkTracer

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


PAIRS = list(pairs())


def inserted(plain: CodeType, marked: CodeType) -> tuple[int, int]:
    """Where the mark begins and ends, in code units."""
    at = next(i.offset for i in dis.get_instructions(plain) if i.opname == "RESUME") // 2 + 1
    return at, at + (len(marked.co_code) - len(plain.co_code)) // 2


def test_there_is_something_to_try() -> None:
    assert len(PAIRS) > 1000
    assert any(plain.co_exceptiontable for plain, _ in PAIRS)
    assert any(plain.co_freevars for plain, _ in PAIRS)
    assert any(plain.co_cellvars for plain, _ in PAIRS)


def test_apart_from_the_mark_every_instruction_is_what_it_was() -> None:
    for plain, marked in PAIRS:
        start, end = inserted(plain, marked)
        rest = marked.co_code[: 2 * start] + marked.co_code[2 * end :]
        assert rest == plain.co_code, plain.co_qualname


def test_every_instruction_but_the_mark_keeps_its_position_in_the_source() -> None:
    for plain, marked in PAIRS:
        start, end = inserted(plain, marked)
        positions = list(marked.co_positions())
        assert positions[:start] + positions[end:] == list(plain.co_positions()), plain.co_qualname
        assert set(positions[start:end]) == {(None, None, None, None)}


def test_lines_stay_where_they_are() -> None:
    for plain, marked in PAIRS:
        before = [line for _, _, line in plain.co_lines() if line is not None]
        after = [line for _, _, line in marked.co_lines() if line is not None]
        assert list(dict.fromkeys(after)) == list(dict.fromkeys(before)), plain.co_qualname


def test_exception_handlers_guard_the_same_instructions() -> None:
    for plain, marked in PAIRS:
        start, end = inserted(plain, marked)
        size = 2 * (end - start)

        def moved(offset: int, at: int = 2 * start, size: int = size) -> int:
            return offset + size if offset >= at else offset

        expected = [(moved(e.start), moved(e.end - 1) + 1, moved(e.target), e.depth, e.lasti) for e in handlers(plain)]
        assert [(e.start, e.end, e.target, e.depth, e.lasti) for e in handlers(marked)] == expected


def handlers(code: CodeType) -> list[dis._ExceptionTableEntry]:  # type: ignore[name-defined]
    # dis offers no public way to the parsed table in 3.11.
    return list(dis._parse_exception_table(code))  # type: ignore[attr-defined]


def test_jumps_lead_to_the_same_instructions() -> None:
    for plain, marked in PAIRS:
        start, end = inserted(plain, marked)
        size = 2 * (end - start)
        before = [i.argval for i in dis.get_instructions(plain) if i.opcode in dis.hasjrel]
        after = [i.argval for i in dis.get_instructions(marked) if i.opcode in dis.hasjrel]
        assert after == [target + size if target >= 2 * start else target for target in before]


def test_the_mark_stores_into_the_tracers_dictionary_and_needs_its_stack() -> None:
    for plain, marked in PAIRS:
        start, end = inserted(plain, marked)
        mark = [i for i in dis.get_instructions(marked) if 2 * start <= i.offset < 2 * end]
        names = [i.opname for i in mark if i.opname != "EXTENDED_ARG"]
        assert names == ["LOAD_CONST", "LOAD_CONST", "LOAD_CONST", "STORE_SUBSCR"]
        assert marked.co_stacksize >= max(3, plain.co_stacksize)


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
