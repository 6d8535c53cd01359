"""Whether what a module's body changes was made there, so that nobody else can find the change.

``app = Flask(__name__)`` followed by ``app.config["DEBUG"] = True`` changes nothing of another module: the class makes
a new object, and nobody else holds it, nor the container that its constructor gave it.
"""

from __future__ import annotations

import builtins
import sys
from itertools import pairwise
from types import BuiltinFunctionType, CodeType
from typing import TYPE_CHECKING, Any, Final

from pytest_perfcache.trace.containers import (
    DISPLAYS,
    KEYS,
    Instruction,
    comprehension_before,
    is_joined,
    is_method,
    jump_targets,
    name_of,
    start_of,
)
from pytest_perfcache.trace.looking import attributes, is_a
from pytest_perfcache.trace.versions import is_scalar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ANNOTATIONS: Final = "__annotations__"
"""Each body that has some has its own."""
_STORES: Final = ("STORE_NAME", "STORE_GLOBAL")
_LOADS: Final = ("LOAD_NAME", "LOAD_GLOBAL")
_ENDS: Final = ("STORE_NAME", "STORE_GLOBAL", "STORE_ATTR", "STORE_SUBSCR")
"""Instructions with which only statements end."""
_ALONE: Final = 4
"""References to what one other object holds: that, those of a list and of a variable, and that of the question."""
_MISSING: Final = object()


def is_own(
    code: CodeType, instructions: list[Instruction], name: str, path: list[str] | None, namespace: Mapping[str, Any]
) -> bool:
    """Whether what ``path`` leads to from a global name is this module's alone.

    ``code``: the body in which the name is used; ``path``: attributes, None where more is done with the name;
    ``namespace``: that of the module after its import.
    """
    if name == ANNOTATIONS:
        return True
    if code.co_name != "<module>" or path is None:
        return False
    stores = stores_of(code, instructions, name)
    if not stores or not all(_is_made(code, instructions, at, namespace) for at in stores):
        return False
    return not path or _leads_inside(path, name, namespace)


def stores_of(code: CodeType, instructions: list[Instruction], name: str) -> list[int]:
    """Where the name is bound."""
    return [at for at, one in enumerate(instructions) if one.name in _STORES and code.co_names[one.argument] == name]


def origins(code: CodeType, instructions: list[Instruction], name: str) -> Iterator[str]:
    """The names in the statements that bind a name; of ``a.b.c`` the last, by which others find it."""
    for store in stores_of(code, instructions, name):
        start = store
        while start > 0 and not instructions[start - 1].name.startswith(_ENDS):
            start -= 1
        for one, following in pairwise(instructions[start : store + 1]):
            if one.name in ("LOAD_ATTR", *_LOADS) and following.name != "LOAD_ATTR":
                yield name_of(code, one)


def path_of(code: CodeType, instructions: list[Instruction], head: int) -> list[str] | None:
    """The attributes between a name and what is changed: by a key, as an attribute, by a method.

    None where items are taken on the way.
    """
    path: list[str] = []
    for at in range(head + 1, len(instructions)):
        one = instructions[at]
        if one.name in ("COPY", "STORE_ATTR", "DELETE_ATTR", "LOAD_METHOD"):
            return path
        if one.name != "LOAD_ATTR":
            return path if instructions[at + 1].name in KEYS else None
        if is_method(one):
            return path
        path.append(name_of(code, one))
    return None


def _is_made(code: CodeType, instructions: list[Instruction], store: int, namespace: Mapping[str, Any]) -> bool:
    """Whether what is stored here is new each time: a display, a definition, what a class makes when it is called."""
    start = comprehension_before(instructions, store)
    made = start is not None
    if start is None:
        start = start_of(instructions, store)
        made = start is not None and _is_new(code, instructions, start, store, namespace)
    if start is None or not made:
        return False
    return not is_joined(jump_targets(instructions), instructions[start], instructions[store])


def _is_new(
    code: CodeType, instructions: list[Instruction], start: int, store: int, namespace: Mapping[str, Any]
) -> bool:
    last = instructions[store - 1].name
    if last in DISPLAYS:
        return True
    if not last.startswith("CALL"):
        return False
    at = start + (instructions[start].name == "PUSH_NULL")
    first = instructions[at]
    if first.name in ("LOAD_BUILD_CLASS", "LOAD_CONST"):
        return True  # of code: a class, or a comprehension before 3.12
    called: object = _MISSING
    if first.name in _LOADS:
        name = name_of(code, first)
        called = namespace.get(name, vars(builtins).get(name, _MISSING))
    for one in instructions[at + 1 : store]:
        if one.name not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
        called = attributes(called).get(name_of(code, one), _MISSING)
    made = namespace.get(code.co_names[instructions[store].argument], _MISSING)
    return called is sorted or (type(made) is called and _makes_new_ones(type(made)))


def _makes_new_ones(kind: type) -> bool:
    """Whether neither the class nor its metaclass decides what a call of it gives."""
    maker = next((found for base in type.mro(kind) if (found := attributes(base).get("__new__")) is not None), None)
    caller = next(base for base in type.mro(type(kind)) if "__call__" in attributes(base))
    return is_a(maker, BuiltinFunctionType) and caller is type


def other_names(path: list[str], name: str, namespace: Mapping[str, Any]) -> set[str]:
    """Under which names other modules, and the classes on the way, hold what the path leads to from a global name."""
    value = namespace.get(name, _MISSING)
    end = _at_end(path, value)
    if end is _MISSING or is_scalar(end):
        return set()
    owners = [found for module in sys.modules.copy().values() if (found := attributes(module)) is not namespace]
    for attribute in path:
        owners += map(attributes, type.mro(type(value)))
        value = attributes(value).get(attribute, _MISSING)
    return {held for owner in owners for held, found in dict(owner).items() if found is end}


def _leads_inside(path: list[str], name: str, namespace: Mapping[str, Any]) -> bool:
    """Whether nobody else holds the objects on the way, nor what they lead to: no registry, module or class."""
    objects = [namespace.get(name, _MISSING)]
    for attribute in path:
        objects.append(attributes(objects[-1]).get(attribute, _MISSING))
    return not any(found is _MISSING or is_a(found, type) or sys.getrefcount(found) > _ALONE for found in objects)


def _at_end(path: list[str], value: object) -> object:
    """What the instances on the way hold under these names."""
    for name in path:
        value = attributes(value).get(name, _MISSING)
    return value
