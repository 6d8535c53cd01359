"""What the import of a module changes of other modules: found in the bytecode of its body.

``shop.RATE = 2``, ``PRICES["cup"] = 1`` and ``Base.register(Cup)`` at the level of a module change what other code
finds under these names. Whoever names them depends on the import, though it may never import that module itself.
"""

from __future__ import annotations

import builtins
from types import CodeType
from typing import TYPE_CHECKING, Final

from pytest_perfcache.trace.containers import SUBSCRIPTS, Instruction, instructions_of
from pytest_perfcache.trace.stateful import (
    HARNESS_OWNED,
    SETTERS,
    attribute_named,
    changed,
    may_be_stateful,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOADS: Final = frozenset(("LOAD_NAME", "LOAD_GLOBAL"))
_STORES: Final = frozenset(("STORE_NAME", "STORE_GLOBAL"))
_BUILTINS: Final = frozenset(vars(builtins))


def bodies(code: CodeType) -> Iterator[CodeType]:
    """A module's code and that of its classes: what runs while it is imported."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and not constant.co_flags & _OPTIMIZED:
            yield from bodies(constant)


_OPTIMIZED: Final = 1
"""The flag of functions (``inspect.CO_OPTIMIZED``); class bodies lack it."""


def effects(code: CodeType) -> frozenset[str]:
    """Names, in other modules, of what a module's body changes."""
    own: set[str] = set()
    found: set[str] = set()
    for body in filter(may_be_stateful, bodies(code)):
        instructions = instructions_of(body)
        aliases = _imported(body, instructions)
        own |= {body.co_names[one.argument] for one in instructions if one.name in _STORES} - aliases.keys()
        found.update(_changes(body, instructions, aliases, own))
    return frozenset(found)


def _imported(body: CodeType, instructions: list[Instruction]) -> dict[str, str]:
    """Names that are bound by imports here, and under which name the other module has them."""
    found: dict[str, str] = {}
    original = ""
    for one in instructions:
        if one.name in ("IMPORT_NAME", "IMPORT_FROM"):
            original = body.co_names[one.argument]
        elif one.name in _STORES and original:
            found[body.co_names[one.argument]] = original
            original = ""
        elif one.name not in ("SWAP", "POP_TOP", "COPY"):
            original = ""
    return found


def _changes(body: CodeType, instructions: list[Instruction], aliases: dict[str, str], own: set[str]) -> Iterator[str]:
    subscripts = any(one.name in SUBSCRIPTS for one in instructions)
    by_name = not SETTERS.isdisjoint(body.co_names)
    for at, one in enumerate(instructions):
        if one.name not in _LOADS:
            continue
        name = body.co_names[one.argument >> (one.name == "LOAD_GLOBAL")]
        if name in own or (name in _BUILTINS and name not in aliases):
            continue
        following = instructions[at + 1 :]
        chain = changed(body, following, subscripts=subscripts)
        if chain is not None and (name, *chain) not in HARNESS_OWNED:
            yield chain[-1] if chain else aliases.get(name, name)
        if by_name:
            attribute = attribute_named(body, following)
            if attribute:
                yield attribute
