"""Whether what a module's body changes was made there, so that nobody else can find the change.

``app = Flask(__name__)`` followed by ``app.config["DEBUG"] = True`` changes nothing of another module: the class makes
a new object, and the container that its constructor gave it is held by no module and no class.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from types import BuiltinFunctionType, CodeType
from typing import TYPE_CHECKING, Any, Final

from pytest_perfcache.trace.containers import ATTRIBUTE_SHIFT, KEYS, Instruction, start_of
from pytest_perfcache.trace.looking import attributes, is_a

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ANNOTATIONS: Final = "__annotations__"
"""Each body that has some has its own."""
_DISPLAYS: Final = ("BUILD_LIST", "BUILD_MAP", "BUILD_SET", "BUILD_CONST_KEY_MAP")
_STORES: Final = ("STORE_NAME", "STORE_GLOBAL")
_LOADS: Final = ("LOAD_NAME", "LOAD_GLOBAL")
_MISSING: Final = object()


def is_own(
    code: CodeType, instructions: list[Instruction], name: str, chain: list[str] | None, namespace: Mapping[str, Any]
) -> bool:
    """Whether what ``chain`` leads to from a global name is this module's alone.

    ``code``: the body in which the name is used; ``chain``: attributes, None where items are taken as well;
    ``namespace``: that of the module after its import.
    """
    if name == ANNOTATIONS:
        return True
    if code.co_name != "<module>" or chain is None:
        return False
    stores = stores_of(code, instructions, name)
    made = bool(stores) and all(_is_made(code, instructions, at, namespace) for at in stores)
    return made and not other_names(chain, namespace.get(name, _MISSING), namespace)


def stores_of(code: CodeType, instructions: list[Instruction], name: str) -> list[int]:
    """Where the name is bound."""
    return [at for at, one in enumerate(instructions) if one.name in _STORES and code.co_names[one.argument] == name]


def origins(code: CodeType, instructions: list[Instruction], name: str) -> Iterator[str]:
    """The names in the expressions that are bound to a name; of ``a.b.c`` the last, by which others find it."""
    for store in stores_of(code, instructions, name):
        start = start_of(instructions, store) or 0
        for one, following in pairwise(instructions[start : store + 1]):
            if one.name in ("LOAD_ATTR", *_LOADS) and following.name != "LOAD_ATTR":
                shift = ATTRIBUTE_SHIFT if one.name == "LOAD_ATTR" else one.name == "LOAD_GLOBAL"
                yield code.co_names[one.argument >> shift]


def path_of(code: CodeType, instructions: list[Instruction], head: int) -> list[str] | None:
    """The attributes between a name and one simple key; None where more is done."""
    chain: list[str] = []
    at = head + 1
    while instructions[at].name == "LOAD_ATTR":
        chain.append(code.co_names[instructions[at].argument >> ATTRIBUTE_SHIFT])
        at += 1
    return chain if instructions[at + 1].name in KEYS else None


def _is_made(code: CodeType, instructions: list[Instruction], store: int, namespace: Mapping[str, Any]) -> bool:
    """Whether a display, or a call of a class that makes a new object each time, is stored here."""
    from dis import findlabels  # as in `containers`

    start = start_of(instructions, store)
    targets = findlabels(code.co_code)  # type: ignore[arg-type] # typeshed says code, `dis` takes the bytes
    if start is None:
        return False
    if any(instructions[start].offset < target <= instructions[store].offset for target in targets):
        return False
    if instructions[store - 1].name in _DISPLAYS:
        return True
    if not instructions[store - 1].name.startswith("CALL"):
        return False
    callee = instructions[start + (instructions[start].name == "PUSH_NULL")]
    if callee.name not in _LOADS:
        return False
    name = code.co_names[callee.argument >> (callee.name == "LOAD_GLOBAL")]
    made = namespace.get(code.co_names[instructions[store].argument], _MISSING)
    return type(made) is namespace.get(name, _MISSING) and _makes_new_ones(type(made))


def _makes_new_ones(kind: type) -> bool:
    """Whether neither the class nor its metaclass decides what a call of it gives."""
    maker = next((found for base in type.mro(kind) if (found := attributes(base).get("__new__")) is not None), None)
    caller = next(base for base in type.mro(type(kind)) if "__call__" in attributes(base))
    return is_a(maker, BuiltinFunctionType) and caller is type


def other_names(chain: list[str], value: object, namespace: Mapping[str, Any]) -> set[str]:
    """Under which names modules and classes hold what the chain leads to; an empty one where it leads nowhere known."""
    owners: list[Mapping[str, object]] = []
    for name in chain:
        owners += map(attributes, type.mro(type(value)))
        value = attributes(value).get(name, _MISSING)
    if value is _MISSING:
        return {""}
    owners += (found for module in sys.modules.copy().values() if (found := attributes(module)) is not namespace)
    return {name for owner in owners for name, held in dict(owner).items() if held is value}
