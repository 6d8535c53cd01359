"""What the import of a module changes of other modules: found in the bytecode of its body.

``shop.RATE = 2``, ``PRICES["cup"] = 1`` and ``Base.register(Cup)`` at the level of a module change what other code
finds under these names. Whoever names them depends on the import, though it may never import that module itself.
"""

from __future__ import annotations

import builtins
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from pytest_perfcache.trace.codes import bodies
from pytest_perfcache.trace.containers import Containers, Instruction, heads_of, instructions_of, name_of
from pytest_perfcache.trace.fresh import ANNOTATIONS, is_own, origins, other_names, path_of
from pytest_perfcache.trace.stateful import (
    HARNESS_OWNED,
    LONGEST,
    SETTERS,
    attribute_named,
    changed,
    may_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LOADS: Final = frozenset(("LOAD_NAME", "LOAD_GLOBAL"))
_STORES: Final = frozenset(("STORE_NAME", "STORE_GLOBAL"))
_BUILTINS: Final = frozenset(vars(builtins))


def effects(code: CodeType, namespace: Mapping[str, Any]) -> frozenset[str]:
    """Names, in other modules, of what a module's body changed. ``namespace``: the module's, after its import."""
    own = {ANNOTATIONS}
    found: set[str] = set()
    for code_of_body in filter(may_store, bodies(code)):
        found.update(_Body(code_of_body, own, namespace).changes())
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


class _Body:
    """One body of a module: its own, or that of a class. ``own``: names that bodies bind, but by imports."""

    def __init__(self, code: CodeType, own: set[str], namespace: Mapping[str, Any]) -> None:
        self._code = code
        self._instructions = instructions_of(code)
        self._aliases = _imported(code, self._instructions)
        self._own = own
        self._namespace = namespace
        self._alone: dict[tuple[str, ...], bool] = {}
        self._held: dict[tuple[str, ...], set[str]] = {}
        own |= {code.co_names[one.argument] for one in self._instructions if one.name in _STORES} - self._aliases.keys()

    def changes(self) -> Iterator[str]:
        heads = heads_of(self._instructions)
        containers = Containers(None if any(map(self._may_be_any, heads or ())) else heads)
        by_name = not SETTERS.isdisjoint(self._code.co_names)
        for at, one in enumerate(self._instructions):
            name = self._loaded(one)
            if not name or (name in _BUILTINS and name not in self._aliases and name not in self._own):
                continue
            following = self._instructions[at + 1 : at + LONGEST]
            chain = changed(self._code, following, subscripts=containers.changes(at))
            if name in self._own:
                yield from self._of_own(name, at, chain)
                continue
            if chain is not None and (name, *chain) not in HARNESS_OWNED:
                yield chain[-1] if chain else self._aliases.get(name, name)
            if by_name and (attribute := attribute_named(self._code, following)):
                yield attribute

    def _loaded(self, one: Instruction) -> str:
        """The name that is loaded; empty for other instructions."""
        return name_of(self._code, one) if one.name in _LOADS else ""

    def _may_be_any(self, head: int) -> bool:
        """Whether the container loaded there may have other names: an own name for what somebody else made."""
        name = self._loaded(self._instructions[head])
        return not name or (name in self._own and not self._is_alone(name, head))

    def _of_own(self, name: str, at: int, chain: list[str] | None) -> Iterator[str]:
        if chain is None or self._is_alone(name, at):
            return
        yield from (chain[-1:] or self._behind(name))
        key = (name, *(path_of(self._code, self._instructions, at) or ()))
        if key not in self._held:
            self._held[key] = other_names(list(key[1:]), name, self._namespace)
        yield from self._held[key]

    def _is_alone(self, name: str, at: int) -> bool:
        """Whether what is changed there is this module's alone."""
        path = path_of(self._code, self._instructions, at)
        if path is None:
            return is_own(self._code, self._instructions, name, None, self._namespace)
        key = (name, *path)
        if key not in self._alone:
            self._alone[key] = is_own(self._code, self._instructions, name, path, self._namespace)
        return self._alone[key]

    def _behind(self, name: str) -> Iterator[str]:
        """What of others an own name may stand for: what stands in the expressions that are bound to it."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current in seen:
                continue
            seen.add(current)
            if current in self._own:
                waiting += origins(self._code, self._instructions, current)
            elif current not in _BUILTINS:
                yield self._aliases.get(current, current)
