"""Functions that test an attribute of an argument, and leave it to others to fill it: found in their bytecode."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from pytest_perfcache.trace import helped
from pytest_perfcache.trace.codes import nested
from pytest_perfcache.trace.containers import instructions_of, jump_targets

STDLIB = Path(dis.__file__).parent
FILES = sorted(file for file in STDLIB.rglob("*.py") if not {"test", "site-packages", "lib2to3"} & set(file.parts))[
    5::17
]


def functions(code: CodeType) -> Iterator[CodeType]:
    for inner in nested(code):
        yield inner
        yield from functions(inner)


def found_in(body: str, name: str = "f") -> tuple[str, ...]:
    (code,) = nested(compile(f"def {name}(self, key=0):\n    {body}", "shop.py", "exec"))
    return helped.tested(code, instructions_of(code))


@pytest.mark.parametrize(
    "body",
    [
        "if self.p is None: self.load()",
        "if not self.p: self.load()",
        "if self.p == key: load(self)",
        "return self.p or self.load()",
        "while self.p: load(key, self)",
        "if not self.p: load(1 if key else 2, self)",
        "if not self.p: load(self, 1 if key else 2)",
        "if key not in self.p: self.load(key)",
        "if self.p.get(key) is None: self.load(key)",
        "if not hasattr(self, 'p'): self.load()",
        "if getattr(self, 'p', None) is None: load(self)",
        "try: return self.p\n    except AttributeError: self.load()",
        "found = self.p\n    if not found: self.load()",
        "found = self.p\n    if not found: found += [key]",
        "if not self.p: heappush(self.p, key)",
        "if not self.p: return [self.p.append(x) for x in key]",
        "add = self.p.append\n    if not self.p: add(key)",
    ],
)
def test_a_test_of_an_argument_that_is_handed_on_counts(body: str) -> None:
    assert found_in(body) == ("self.p",)


@pytest.mark.parametrize(
    ("body", "tested"),
    [
        ("if not self.ready(): self.load()", "self.ready"),
        ("if self.data.p is None: self.load()", "self.data.p"),
    ],
)
def test_methods_that_tell_and_attributes_of_attributes_are_tested_too(body: str, tested: str) -> None:
    assert found_in(body) == (tested,)


@pytest.mark.parametrize(
    ("body", "tested"),
    [
        ("if not FOUND: load(FOUND)", {"FOUND"}),
        ("if not APP.loaded: APP.load()", {"APP.loaded"}),
        ("if FOUND: return key", set()),
        ("if FOUND is None: load(FOUND)", {"FOUND"}),
        ("if None is FOUND: load(FOUND)", {"FOUND"}),
        ("if key in FOUND: load(FOUND)", {"FOUND"}),
        ("if key is MISSING: load(MISSING)", set()),
        ("if os.name == 'nt': os.mkdir(key)", set()),
    ],
)
def test_globals_that_are_tested_and_handed_on_count_unless_they_are_modules(body: str, tested: set[str]) -> None:
    (code,) = nested(compile(f"def f(key):\n    {body}", "shop.py", "exec"))

    assert set(helped.tested_globals(code, instructions_of(code))) == tested


@pytest.mark.parametrize(
    "body",
    [
        "return self.p",
        "if self.p: return key",
        "if self.p == key: return [self.p, self.q]",
        "if self.p: return len(self)",
        "if isinstance(self, key) and self.p: return 1",
        "self.load()",
        "if key: self.load()",
    ],
)
def test_what_only_tests_or_only_hands_on_does_not_count(body: str) -> None:
    assert found_in(body) == ()


def test_what_builds_an_object_does_not_count() -> None:
    assert found_in("if self.p is None: self.load()", "__init__") == ()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_sieve_lets_every_such_function_through(file: Path) -> None:
    for code in functions(compile(file.read_bytes(), str(file), "exec", dont_inherit=True)):
        instructions = instructions_of(code)
        left = (*helped.tested(code, instructions), *helped.tested_globals(code, instructions))
        assert helped.may_test(code) or not left, code.co_qualname


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_jumps_lead_where_the_disassembler_says(file: Path) -> None:
    for code in functions(compile(file.read_bytes(), str(file), "exec", dont_inherit=True)):
        targets = set(jump_targets(instructions_of(code)))
        assert targets == set(dis.findlabels(code.co_code)), code.co_qualname  # type: ignore[arg-type]
