"""How values are told apart from what they were before: without running code of theirs.

A proxy such as flask's ``request`` would answer for something else.
"""

from __future__ import annotations

import os
from collections import deque
from contextvars import ContextVar
from itertools import islice
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_perfcache.trace.looking import attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FIXED: Final = (BuiltinFunctionType, str, bytes, int, float, complex, tuple, frozenset)
SMALL: Final = (str, bytes, int, float, complex, bool, type(None))
_identity: Final = object.__hash__
"""Tells objects apart as ``id`` does, which is an audit event and so many times slower."""
_SMALL_KINDS: Final = frozenset(map(_identity, SMALL))
"""Types by identity: a metaclass may give them a hash of its own."""
_SCALAR_KINDS: Final = _SMALL_KINDS | {_identity(object)}
_IMMUTABLE: Final = 1 << 8
"""``Py_TPFLAGS_IMMUTABLETYPE``: no attribute of the type can be set."""
PLAIN: Final = (dict, list, set)
_LOOKED_INTO: Final = 100
"""Containers in a container that are looked into."""
_LOOKED_AT: Final = 1000
"""Elements of a container that are compared one by one."""
Version: TypeAlias = tuple[object, int, int]


def find(namespace: Mapping[str, object], dotted: str) -> object:
    """The value of a dotted name, found in modules, classes and instances without running code of their own."""
    first, *rest = dotted.split(".")
    value = namespace.get(first)
    for name in rest:
        value = attributes(value).get(name)
    return value


def version(value: object) -> Version:
    """Differs once a value is replaced, or what it holds, or what that holds.

    Never runs code of the value's own: it may be a proxy that answers for something else.
    """
    held = contents(value)
    containers = [container for container in held[:_LOOKED_INTO] if type(container) in PLAIN]
    inner = [element for container in containers for element in contents(container)]
    return value, len(held) + len(inner), hash((tuple(marks(held)), tuple(marks(inner))))


def marks(elements: list[object]) -> Iterable[object]:
    """What tells each element from another: its value where many are alike, else its identity."""
    if not elements:
        return elements
    kinds = set(map(_identity, map(type, elements)))
    if kinds <= _SMALL_KINDS:
        return elements
    if kinds.isdisjoint(_SMALL_KINDS):
        return map(_identity, elements)
    return [element if _identity(type(element)) in _SMALL_KINDS else _identity(element) for element in elements]


def contents(value: object) -> list[object]:
    kind = type(value)
    if issubclass(kind, _FIXED):
        return []
    if kind is FunctionType:  # what wrappers fill; decorators write other attributes that say the same of all
        return [held for held in value.__dict__.values() if type(held) in PLAIN]
    if value is os.environ:
        return []  # who set a variable is asked variable by variable, when it is read
    if issubclass(kind, dict):
        return list(islice(dict.values(value), _LOOKED_AT))  # type: ignore[arg-type]
    for container in (list, set, deque):
        if issubclass(kind, container):
            return list(islice(container.__iter__(value), _LOOKED_AT))  # type: ignore[arg-type]
    if type(value) is ContextVar:
        return [value.get(None)]
    return list(islice(attributes(value).values(), _LOOKED_AT))


def same(one: Version, other: Version) -> bool:
    return one[0] is other[0] and one[1:] == other[1:]


def is_scalar(value: object) -> bool:
    """Whether nothing can be kept in the value: a number, a text, a type such as ``object``, or a tuple of such."""
    kind = type(value)
    if kind is tuple or kind is frozenset:
        return all(map(_is_fixed, value))  # type: ignore[call-overload]
    return _is_fixed(value)


def is_bare(value: object) -> bool:
    """Whether this is a function without attributes, which keeps nothing."""
    return type(value) is FunctionType and not value.__dict__


def _is_fixed(value: object) -> bool:
    return _identity(type(value)) in _SCALAR_KINDS or (type(value) is type and value.__flags__ & _IMMUTABLE != 0)
