"""How a function finds loaded modules in ``sys.modules``: by which of its arguments, or by any name at all."""

from __future__ import annotations

from types import CodeType
from typing import Final, NamedTuple

from pytest_perfcache.trace.containers import Instruction, instructions_of, is_joined, jump_targets, name_of

MODULES: Final = "modules"
_NAMES: Final = ("LOAD_ATTR", "LOAD_GLOBAL", "LOAD_METHOD")
_VARIABLES: Final = ("LOAD_FAST", "LOAD_FAST_CHECK")


class Keys(NamedTuple):
    """``arguments``: names of those that are keys; ``constants``: texts that are."""

    arguments: frozenset[str] = frozenset()
    constants: frozenset[str] = frozenset()


def keys_of(code: CodeType) -> Keys | None:
    """The keys of each ``modules[key]``, ``modules.get(key)`` and ``key in modules``; None where anything else is done.

    Only a function's own arguments count, as long as nothing else is bound to the name.
    """
    if code.co_name.startswith("<"):
        return None
    instructions = instructions_of(code)
    stored = {one.argument for one in instructions if one.name.startswith(("STORE_FAST", "DELETE_FAST", "STORE_DEREF"))}
    arguments: set[str] = set()
    constants: set[str] = set()
    for at, one in enumerate(instructions):
        if one.name not in _NAMES or name_of(code, one) != MODULES:
            continue
        key = _key(code, instructions, at)
        if key is None:
            return None
        value = code.co_consts[key.argument] if key.name == "LOAD_CONST" else None
        if isinstance(value, str):
            constants.add(value)
        elif key.name in _VARIABLES and key.argument < code.co_argcount and key.argument not in stored:
            arguments.add(code.co_varnames[key.argument])
        else:
            return None
    return Keys(frozenset(arguments), frozenset(constants))


def _key(code: CodeType, instructions: list[Instruction], at: int) -> Instruction | None:
    """The instruction that loads the key for the look-up that begins here; None where it is no look-up by a key."""
    following = instructions[at + 1 : at + 5] + [Instruction("", 0, 0, 0)] * 4
    first, second, *others = following
    if second.name == "BINARY_SUBSCR":
        return first
    if first.name in ("LOAD_METHOD", "LOAD_ATTR") and name_of(code, first) == "get":
        default = 1 if others[0].name in (*_VARIABLES, "LOAD_CONST") else 0
        return second if others[default].name in ("PRECALL", "CALL") else None
    if first.name == "CONTAINS_OP":
        place = at - (2 if instructions[at].name == "LOAD_ATTR" else 1)
        joined = is_joined(jump_targets(instructions), instructions[place], instructions[at])
        return None if joined else instructions[place]
    return None
