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

_MUTATORS: Final = frozenset(
    """
    __setitem__ add append appendleft clear discard extend extendleft insert pop popitem popleft put register
    remove setdefault update
    """.split()
)
_BUILDERS: Final = frozenset(
    ("__init__", "__new__", "__post_init__", "__set_name__", "__setstate__", "__attrs_post_init__")
)
_BUILTINS: Final = frozenset(vars(builtins))
_CONDITIONS: Final = ("POP_JUMP", "JUMP_IF", "IS_OP", "COPY", "STORE_FAST", "TO_BOOL", "LOAD_CONST", "CONTAINS_OP")


class Stateful(NamedTuple):
    """Names of what a function may keep: globals of its module, and attributes of its first argument."""

    globals: tuple[str, ...]
    attributes: tuple[str, ...]


class _Instruction(NamedTuple):
    name: str
    argument: int


def stateful(code: CodeType) -> Stateful | None:
    """What this function may keep for later calls; None where it keeps nothing.

    * globals that it assigns, or whose elements or contents it may change;
    * attributes that it both tests and assigns outside a constructor: the lazy attribute.
    """
    instructions = list(_instructions(code))
    names = {instruction.name for instruction in instructions}
    kept = tuple(sorted(set(_kept_globals(code, instructions, names))))
    lazy = tuple(sorted(_lazy_attributes(code, instructions))) if "STORE_ATTR" in names else ()
    return Stateful(kept, lazy) if kept or lazy else None


def may_be_stateful(code: CodeType) -> bool:
    """A cheap sieve before :func:`stateful`: does the code store anywhere but in its own variables?"""
    opcodes = code.co_code[::2]
    return any(store in opcodes for store in _STORES) or not _MUTATORS.isdisjoint(code.co_names)


_STORES: Final = tuple(
    opcode.opmap[name] for name in ("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "STORE_SUBSCR", "DELETE_SUBSCR")
)


def _kept_globals(code: CodeType, instructions: list[_Instruction], names: set[str]) -> Iterator[str]:
    for instruction in instructions:
        if instruction.name in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            yield code.co_names[instruction.argument]
    if names & {"STORE_SUBSCR", "DELETE_SUBSCR", "STORE_ATTR"} or not _MUTATORS.isdisjoint(code.co_names):
        for instruction in instructions:
            if instruction.name == "LOAD_GLOBAL" and code.co_names[instruction.argument >> 1] not in _BUILTINS:
                yield code.co_names[instruction.argument >> 1]


def _lazy_attributes(code: CodeType, instructions: list[_Instruction]) -> set[str]:
    if code.co_name in _BUILDERS or not code.co_argcount:
        return set()
    stored = {code.co_names[i.argument] for i in instructions if i.name == "STORE_ATTR"}
    guarded = {"AttributeError", "KeyError", "hasattr", "getattr"} & set(code.co_names)
    return stored if guarded else stored.intersection(_tested_attributes(code, instructions))


def _tested_attributes(code: CodeType, instructions: list[_Instruction]) -> Iterator[str]:
    for instruction, following in pairwise(instructions):
        if instruction.name == "LOAD_ATTR" and following.name.startswith(_CONDITIONS):
            yield code.co_names[instruction.argument >> _ATTRIBUTE_SHIFT]


_ATTRIBUTE_SHIFT: Final = 0 if "LOAD_METHOD" in opcode.opmap and opcode.opmap["LOAD_METHOD"] < 256 else 1
"""From 3.12 on the lowest bit of LOAD_ATTR's argument says whether a method is loaded."""


def _instructions(code: CodeType) -> Iterator[_Instruction]:
    raw, extended = code.co_code, 0
    skip = frozenset((opcode.opmap["CACHE"],))
    for at in range(0, len(raw), 2):
        operation = raw[at]
        if operation in skip:
            continue
        argument = extended | raw[at + 1]
        if operation == opcode.opmap["EXTENDED_ARG"]:
            extended = argument << 8
            continue
        extended = 0
        yield _Instruction(opcode.opname[operation], argument)
