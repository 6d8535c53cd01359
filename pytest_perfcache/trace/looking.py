"""Looking at objects of the program under test without running code of theirs.

``isinstance``, ``getattr`` and ``vars`` ask the object: for ``__class__``, by its ``__getattribute__`` or by a module's
``__getattr__``. A proxy then answers for something else, a lazy module loads itself, a deprecated one warns.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeGuard, TypeVar

_Kind = TypeVar("_Kind")
_weak_references: Final[Any] = type.__dict__["__weakrefoffset__"].__get__
_dictionary: Final[Any] = type.__dict__["__dictoffset__"].__get__
"""Where objects of a type have these, 0 where they have none; a class's own attribute of that name is not asked."""
_own_attribute: Final = object.__getattribute__
_OTHERWISE: Final = (type, threading.local)
"""Whose attributes are found in another way."""
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


def is_a(value: object, kind: type[_Kind]) -> TypeGuard[_Kind]:
    """Whether the object's real type is `kind` or derived from it."""
    return issubclass(type(value), kind)


def attributes(value: object) -> Mapping[str, object]:
    """What ``vars()`` would give, or nothing."""
    kind = type(value)
    if issubclass(kind, _OTHERWISE):
        members: Mapping[str, object] = type.__getattribute__(value, "__dict__") if is_a(value, type) else vars(value)
        return members
    if not _dictionary(kind):
        return _NOTHING
    try:
        found = _own_attribute(value, "__dict__")
    except AttributeError:
        return _NOTHING
    return found if type(found) is dict else _NOTHING


def is_referable(value: object) -> bool:
    """Whether weak references to the object can be made."""
    return bool(_weak_references(type(value)))


def file_of(module: object) -> str | None:
    """A module's ``__file__``, where it is set."""
    file = attributes(module).get("__file__")
    return file if type(file) is str else None


def folders_of(package: object) -> Iterator[str]:
    """A package's ``__path__``; empty for what is no package."""
    found: Any = attributes(package).get("__path__", ())
    return (path for path in found if type(path) is str) if issubclass(type(found), Iterable) else iter(())
