"""Which functions keep something for later calls: found in their bytecode, before they run.

A value that one test computes and another one reuses hides what it was computed from. Functions that may keep such a
value get a *scope*: what runs between their start and their return is remembered with the thing they keep.
"""

from __future__ import annotations

import builtins
import opcode
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType
from typing import Final, NamedTuple

from pytest_perfcache.trace.containers import (
    MUTATORS,
    SUBSCRIPTS,
    Containers,
    Instruction,
    arguments_of,
    instructions_of,
    is_found,
    is_method,
    local_of,
    name_of,
    outer_name,
)
from pytest_perfcache.trace.helped import BUILDERS, TELLING, may_test, tested, tested_globals

SETTERS: Final = frozenset(("setattr", "delattr"))
_CHANGERS: Final = MUTATORS | SETTERS
HARNESS_OWNED: Final = frozenset(("sys", name) for name in ("stdin", "stdout", "stderr", "modules", "path"))
"""What pytest itself changes, and what imports do, which are seen otherwise."""
LONGEST: Final = 30
"""How many instructions behind a name tell what becomes of it."""
_GUARDS: Final = TELLING | {"setdefault"}
ON_DEMAND: Final = frozenset(("__get__", "__getattr__", "__getattribute__", "__missing__"))
"""Run where something is not there yet; what they store is there the next time."""
_ALWAYS_THERE: Final = frozenset("__annotations__ __doc__ __module__ __name__ __qualname__".split())
"""Attributes that every class and function has: only a test of the attribute itself can tell that it is to be set."""
_CALLS: Final = ("PRECALL", "CALL", "PUSH_NULL")
_CLASS_HOOKS: Final = frozenset(("__init_subclass__", "__set_name__"))
_CLASS_NAMES: Final = frozenset(("cls", "klass", "mcls", "mcs", "meta", "metacls"))
_BUILTINS: Final = frozenset(vars(builtins))
CO_GENERATOR: Final = 0x20
"""As in ``inspect``, which takes 10 ms to import."""
_TRUTH: Final = (
    "JUMP_IF",
    "POP_JUMP_FORWARD_IF_FALSE",
    "POP_JUMP_FORWARD_IF_TRUE",
    "POP_JUMP_IF_FALSE",
    "POP_JUMP_IF_TRUE",
    "TO_BOOL",
)
_CONDITIONS: Final = ("POP_JUMP", "JUMP_IF", "IS_OP", "COPY", "STORE_FAST", "TO_BOOL", "LOAD_CONST", "CONTAINS_OP")


class Stateful(NamedTuple):
    """Where a function may keep something.

    ``globals``: dotted names of its module that it assigns or changes, such as ``CACHE`` or ``settings.cache``;
    ``holders``: local names of what was there before it ran and of which it changes something: arguments with a lazy
    attribute, variables of the function around it; ``attributes``: names of what it changes of its arguments while a
    class is made, and of objects that it found somewhere. ``keys``: arguments by which it looks up loaded modules.
    """

    globals: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    steps: bool = False
    """A generator, which is not watched."""
    keys: tuple[str, ...] = ()
    tested: tuple[str, ...] = ()
    """What it tests of arguments for others to fill, see :mod:`~pytest_perfcache.trace.helped`."""

    @property
    def heads(self) -> tuple[str, ...]:
        """The variables of which something is kept, or tested for others."""
        return self.holders or tuple(dict.fromkeys(path.partition(".")[0] for path in self.tested))

    @property
    def told(self) -> tuple[str, ...]:
        """The variables of which something is to be known when the function starts."""
        return tuple(dict.fromkeys((*self.heads, *self.keys)))


def stateful(code: CodeType) -> Stateful | None:
    """What this function may keep for later calls; None where it keeps nothing.

    A generator has no scope: what runs between its steps is not its doing. Of what it keeps only globals are told.
    """
    instructions = instructions_of(code)
    if not may_store(code):
        return None if code.co_flags & CO_GENERATOR else _left_to_others(code, instructions)
    containers = Containers.of(code, instructions)
    if code.co_flags & CO_GENERATOR:
        found = _kept_globals(code, instructions, containers)
        return Stateful(tuple(sorted(set(found))), steps=True)
    kept = tuple(sorted({*_kept_globals(code, instructions, containers), *tested_globals(code, instructions)}))
    holders = tuple(
        sorted({*_lazy_holders(code, instructions, containers), *_kept_variables(code, instructions, containers)})
    )
    names = set(_class_attributes(code, instructions, containers)) if _makes_classes(code) else set()
    attributes = tuple(sorted(names.union(_attributes_of_others(code, instructions))))
    state = Stateful(kept, holders, attributes, tested=() if holders else tested(code, instructions))
    return state if any(state) else None


def _left_to_others(code: CodeType, instructions: list[Instruction]) -> Stateful | None:
    state = Stateful(tuple(sorted(tested_globals(code, instructions))), tested=tested(code, instructions))
    return state if any(state) else None


def may_be_stateful(code: CodeType) -> bool:
    """A cheap sieve before :func:`stateful`."""
    return may_store(code) or may_test(code)


def may_store(code: CodeType) -> bool:
    """Does the code store anywhere but in its own variables?"""
    opcodes = code.co_code[::2]
    return any(store in opcodes for store in _STORES) or not _CHANGERS.isdisjoint(code.co_names)


_STORES: Final = tuple(
    opcode.opmap[name]
    for name in (
        "STORE_DEREF",
        "STORE_GLOBAL",
        "DELETE_GLOBAL",
        "STORE_ATTR",
        "DELETE_ATTR",
        *SUBSCRIPTS,
    )
    if name in opcode.opmap
)


def _kept_globals(code: CodeType, instructions: list[Instruction], containers: Containers) -> Iterator[str]:
    """Globals assigned, or at the head of ``G.a.b = ...``, ``G.a[key] = ...`` and ``G.a.append(...)``."""
    by_name = not SETTERS.isdisjoint(code.co_names)
    for at, instruction in enumerate(instructions):
        if instruction.name in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            yield code.co_names[instruction.argument]
        elif instruction.name == "LOAD_GLOBAL":
            name = code.co_names[instruction.argument >> 1]
            if instruction.argument & 1 and instructions[at + 1].name != "COPY":
                continue  # it is only called, which changes nothing that it holds
            chain = changed(code, instructions[at + 1 : at + LONGEST], subscripts=containers.changes(at))
            if name not in _BUILTINS and chain is not None and (name, *chain) not in HARNESS_OWNED:
                yield ".".join((name, *chain))
            if by_name and (attribute := attribute_named(code, instructions[at + 1 : at + LONGEST])):
                yield f"{name}.{attribute}"


def _makes_classes(code: CodeType) -> bool:
    """Whether this runs while a class statement is executed: hooks of base classes, of descriptors, of metaclasses."""
    first = code.co_varnames[0] if code.co_argcount else ""
    return code.co_name in _CLASS_HOOKS or (code.co_name in ("__new__", "__init__") and first in _CLASS_NAMES)


def _class_attributes(code: CodeType, instructions: list[Instruction], containers: Containers) -> Iterator[str]:
    """Attributes at the end of ``cls.a[key] = ...``, ``cls.b.a.append(...)`` and ``owner.a = ...``."""
    for at, instruction in enumerate(instructions):
        holder = local_of(instruction)
        if holder is not None and holder < arguments_of(code):
            chain = changed(code, instructions[at + 1 : at + LONGEST], subscripts=containers.changes(at))
            if chain:
                yield chain[-1]


def _kept_variables(code: CodeType, instructions: list[Instruction], containers: Containers) -> Iterator[str]:
    """Variables of the function around this one that it assigns, or whose value it changes."""
    if not code.co_freevars:
        return
    outer = frozenset(code.co_freevars)
    for at, instruction in enumerate(instructions):
        if instruction.name not in ("STORE_DEREF", "LOAD_DEREF"):
            continue
        name = outer_name(code, instruction.argument)
        stored = instruction.name == "STORE_DEREF"
        following = instructions[at + 1 : at + LONGEST]
        if name in outer and (stored or changed(code, following, subscripts=containers.changes(at)) is not None):
            yield name


def changed(code: CodeType, following: list[Instruction], *, subscripts: bool) -> list[str] | None:
    """The attributes that lead from what was just loaded to what is assigned or changed; None where nothing is."""
    chain: list[str] = []
    copied = False
    for instruction in following:
        if instruction.name == "COPY":
            copied = True  # as `a.b += c` does it
            continue
        if instruction.name in ("STORE_ATTR", "DELETE_ATTR"):
            return [*chain, code.co_names[instruction.argument]]
        if instruction.name not in ("LOAD_ATTR", "LOAD_METHOD"):
            return chain if subscripts and not instruction.name.startswith(_CALLS) else None
        attribute = name_of(code, instruction)
        if copied:
            return [*chain, attribute]
        if is_method(instruction):
            return chain if attribute in MUTATORS else None
        chain.append(attribute)
    return None


def attribute_named(code: CodeType, following: list[Instruction]) -> str:
    """The text that follows an object among the arguments of ``setattr``; empty where none does."""
    if not following or following[0].name != "LOAD_CONST":
        return ""
    value = code.co_consts[following[0].argument]
    return value if isinstance(value, str) and value.isidentifier() else ""


def _lazy_holders(code: CodeType, instructions: list[Instruction], containers: Containers) -> set[str]:
    """Arguments of which the function both tests and changes something."""
    if code.co_name in BUILDERS or not arguments_of(code):
        return set()
    names = {instruction.name for instruction in instructions}
    guarded = _is_guarded(code, names)
    tested = set(_tested_attributes(code, instructions))
    found: set[str] = set()
    for instruction, following in pairwise(instructions):
        if following.name == "STORE_ATTR" and (guarded or code.co_names[following.argument] in tested):
            holder = local_of(instruction)
            if holder is not None and holder < arguments_of(code):
                found.add(code.co_varnames[holder])
    return found | set(_filled_holders(code, instructions, tested, containers, guarded=guarded))


def _is_guarded(code: CodeType, names: set[str]) -> bool:
    """Whether something may be tested that is no plain attribute. ``names``: those of the instructions."""
    return code.co_name in ON_DEMAND or "CONTAINS_OP" in names or not _GUARDS.isdisjoint(code.co_names)


def _attributes_of_others(code: CodeType, instructions: list[Instruction]) -> Iterator[str]:
    """Attributes that are tested and set on what is no argument: an element of something, what a call gave, a class."""
    if code.co_name in BUILDERS:
        return
    found = {
        code.co_names[one.argument]
        for at, one in enumerate(instructions[1:], 1)
        if one.name == "STORE_ATTR" and is_found(code, instructions, at - 1)
    }
    if found:
        guarded = _is_guarded(code, {one.name for one in instructions})
        missing = found - _ALWAYS_THERE if guarded else set()
        found = missing | found.intersection(_tested_attributes(code, instructions))
    yield from found


def _filled_holders(
    code: CodeType, instructions: list[Instruction], tested: set[str], containers: Containers, *, guarded: bool
) -> Iterator[str]:
    """Arguments at the head of ``self.prices[key] = ...``, ``self.found.append(...)`` and ``setattr(self, ...)``."""
    by_name = "setattr" in code.co_names or "__setattr__" in code.co_names
    for at, instruction in enumerate(instructions):
        holder = local_of(instruction)
        if holder is None or holder >= arguments_of(code):
            continue
        chain = changed(code, instructions[at + 1 : at + LONGEST], subscripts=containers.changes(at))
        tests = guarded or (chain is not None and (not tested.isdisjoint(chain) or _tests_itself(instructions, holder)))
        if (chain is not None and tests) or (by_name and guarded):
            yield code.co_varnames[holder]


def _tests_itself(instructions: list[Instruction], holder: int) -> bool:
    """Whether the argument itself is tested, as in ``if not found: found.append(...)``."""
    return any(
        following.name.startswith(_TRUTH) and local_of(one) == holder for one, following in pairwise(instructions)
    )


def _tested_attributes(code: CodeType, instructions: list[Instruction]) -> Iterator[str]:
    for instruction, following in pairwise(instructions):
        if instruction.name == "LOAD_ATTR" and following.name.startswith(_CONDITIONS):
            yield name_of(code, instruction)
