"""Numbers for the functions of the project, and what their code imports when it runs."""

from __future__ import annotations

import opcode
import re
from collections import defaultdict
from collections.abc import Iterator
from types import CodeType
from typing import Any, Final, NamedTuple

from pytest_perfcache.facts.places import is_test_file
from pytest_perfcache.model import enclosing_name
from pytest_perfcache.trace.helped import CO_OPTIMIZED
from pytest_perfcache.trace.keys import MODULES, Keys, keys_of
from pytest_perfcache.trace.stateful import CO_GENERATOR, Stateful, may_be_stateful, stateful

_IMPORT_NAME: Final = opcode.opmap["IMPORT_NAME"]
_EXTENDED_ARG: Final = opcode.opmap["EXTENDED_ARG"]
_LOAD_CONST: Final = opcode.opmap["LOAD_CONST"]
_REFLECTIVE: Final = frozenset("__subclasses__ get_objects get_referrers".split())
"""With these, code may reach any loaded module; what is imported by a computed name is seen when it is imported."""
_BY_NAME: Final = frozenset("__import__ find_spec import_module importorskip resolve_name run_module".split())
_MODULE_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_LINES: Final = frozenset("f_lineno findsource getline getlines getsource getsourcelines".split())
_LINES_IN_TESTS: Final = frozenset(
    """
    co_firstlineno co_lines extract_stack extract_tb format_exc format_exception format_stack getframeinfo
    getinnerframes
    getouterframes lineno print_exc print_exception print_stack tb_lineno walk_stack walk_tb
    """.split()
)
"""A test that uses these looks at the number. Elsewhere they serve messages, or a parser's own lines."""
CO_NEWLOCALS: Final = 0x2
CO_COROUTINE: Final = 0x80
CO_ITERABLE_COROUTINE: Final = 0x100
CO_ASYNC_GENERATOR: Final = 0x200
"""As in ``inspect``, which takes 10 ms to import."""
SUSPENDS: Final = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR | CO_ITERABLE_COROUTINE
"""Flags of code that may go on in another test than it was started in."""
_INLINE: Final = frozenset(("<listcomp>", "<dictcomp>", "<setcomp>"))
"""Run only while the function around them runs, so they need no number."""


class ImportSpec(NamedTuple):
    """One import statement: ``from ..package import a, b`` is ``(2, "package", ("a", "b"))``."""

    level: int
    module: str
    names: tuple[str, ...]


class Read(NamedTuple):
    """What the code of one function says before it runs.

    ``names``: of globals and attributes that it uses; ``imports``: what it imports when it runs; ``reflective``: it may
    reach any loaded module; ``lines``: its result may depend on where code stands in its file.
    """

    names: tuple[str, ...]
    imports: tuple[ImportSpec, ...]
    reflective: bool
    lines: bool
    state: Stateful | None

    @classmethod
    def of(cls, code: CodeType, path: str) -> Read:
        """``path`` is that of the module's file, from the root."""
        names = frozenset(code.co_names)
        specs = tuple(import_statements(code))
        keys = keys_of(code) if MODULES in names and not code.co_flags & SUSPENDS else Keys()
        if keys is not None:
            specs += tuple(ImportSpec(0, name, ()) for name in sorted(keys.constants - {"__main__"}))
        if not _BY_NAME.isdisjoint(names):
            specs += tuple(named_modules(code))
        in_test = is_test_file(path)
        lines = not _LINES.isdisjoint(names) or (in_test and not _LINES_IN_TESTS.isdisjoint(names))
        state = stateful(code) if may_be_stateful(code) else None
        if keys is not None and keys.arguments:
            state = (state or Stateful())._replace(keys=tuple(sorted(keys.arguments)))
        reflective = keys is None or not _REFLECTIVE.isdisjoint(names)
        return cls(code.co_names, specs, reflective, lines, state)

    def plain(self) -> tuple[Any, ...]:
        """As nested tuples, which is all that ``marshal`` takes."""
        state = None if self.state is None else tuple(self.state)
        return (self.names, tuple(map(tuple, self.imports)), self.reflective, self.lines, state)

    @classmethod
    def restored(cls, plain: tuple[Any, ...]) -> Read:
        """From the same as nested tuples."""
        names, imports, reflective, lines, state = plain
        specs = tuple(ImportSpec(*spec) for spec in imports)
        return cls(names, specs, reflective, lines, None if state is None else Stateful(*state))


class Codes:
    """A number for each function (path and qualified name), given when its code is first seen.

    Lambdas and generator expressions share the number of the function around them.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self.names: list[tuple[str, str]] = []
        self.files: list[int] = []
        """By number: that of the path, the first part of the name."""
        self.paths: list[str] = []
        """By number of the path."""
        self._path_numbers: dict[str, int] = {}
        self.imports: dict[int, tuple[ImportSpec, ...]] = {}
        self.importing = 0
        """Bit mask of functions that import something when they run."""
        self.reflective = 0
        """Bit mask of functions that may reach any loaded module by a computed name."""
        self.looks_at_lines: set[int] = set()
        """Functions whose result may depend on where code stands in its file."""
        self.read = 0
        """How often code was read: what is told of functions may be more when this has grown."""
        self.mentions: dict[str, set[int]] = defaultdict(set)
        """Names of globals and attributes → the functions whose code uses them."""
        self.stateful: dict[int, Stateful] = {}
        """Functions that may keep something for later calls."""
        self.steps: dict[int, tuple[str, ...]] = {}
        """Generators that change globals, and which."""

    def enter(self, path: str, qualname: str) -> int:
        """The number of a function that ran in another process; its code may follow."""
        key = (path, qualname)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.names)
            self.names.append(key)
            self.files.append(self.file(path))
        return found

    def file(self, path: str) -> int:
        """The number of a path."""
        found = self._path_numbers.get(path)
        if found is None:
            found = self._path_numbers[path] = len(self.paths)
            self.paths.append(path)
        return found

    def number(self, path: str, code: CodeType) -> int:
        """The number of a function whose code is here."""
        return self.read_in(path, code)[0]

    def read_in(self, path: str, code: CodeType) -> tuple[int, Read]:
        """The same, with what was read."""
        read = Read.of(code, path)
        return self.add(path, enclosing_name(code.co_qualname), read), read

    def add(self, path: str, qualname: str, read: Read) -> int:
        """The number of a function whose code was read."""
        number = self.enter(path, qualname)
        self.read += 1
        for name in read.names:
            self.mentions[name].add(number)
        if read.reflective:
            self.reflective |= 1 << number
        if read.imports:
            self.imports[number] = self.imports.get(number, ()) + read.imports
            self.importing |= 1 << number
        if read.lines:
            self.looks_at_lines.add(number)
        if read.state is not None and not read.state.steps:
            before = self.stateful.get(number, read.state)
            self.stateful[number] = read.state._replace(keys=tuple(sorted({*before.keys, *read.state.keys})))
        elif read.state is not None and read.state.globals:
            self.steps[number] = read.state.globals
        return number


def is_function(code: CodeType) -> bool:
    """Whether this is a function's code: not a module's, a class body's or an inlined comprehension's."""
    wanted = CO_NEWLOCALS | CO_OPTIMIZED
    return code.co_flags & wanted == wanted and code.co_name not in _INLINE


def nested(code: CodeType) -> Iterator[CodeType]:
    """The code objects directly inside this one."""
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


def bodies(code: CodeType) -> Iterator[CodeType]:
    """A module's code and that of its classes: what runs while it is imported."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and not constant.co_flags & CO_OPTIMIZED:
            yield from bodies(constant)


def import_statements(code: CodeType) -> Iterator[ImportSpec]:
    """The import statements in this code itself, read from its bytecode.

    The compiler puts the level and the names just before each ``IMPORT_NAME``, in every version since 3.11.
    """
    raw = code.co_code
    opcodes = raw[::2]
    at = opcodes.find(_IMPORT_NAME)
    while at >= 0:
        name, before = argument_at(raw, 2 * at)
        names, before = _constant(code, before - 2)
        level, _ = _constant(code, before - 2)
        if isinstance(level, int):
            yield ImportSpec(level, code.co_names[name], names if isinstance(names, tuple) else ())
        at = opcodes.find(_IMPORT_NAME, at + 1)


def named_modules(code: CodeType) -> Iterator[ImportSpec]:
    """Texts in code that imports by computed names, where they could be the names of modules."""
    for constant in code.co_consts:
        if isinstance(constant, str) and _MODULE_NAME.fullmatch(constant):
            yield ImportSpec(0, constant, ())


def argument_at(raw: bytes, at: int) -> tuple[int, int]:
    """The full argument of the instruction at ``at``, and where its first extension starts."""
    value, shift = raw[at + 1], 8
    while at >= 2 and raw[at - 2] == _EXTENDED_ARG:
        at -= 2
        value |= raw[at + 1] << shift
        shift += 8
    return value, at


def _constant(code: CodeType, at: int) -> tuple[object, int]:
    value, start = argument_at(code.co_code, at)
    return (code.co_consts[value] if code.co_code[at] == _LOAD_CONST else value), start
