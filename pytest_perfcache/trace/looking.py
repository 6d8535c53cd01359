"""Looking at objects of the program under test without running code of theirs.

``isinstance``, ``getattr`` and ``vars`` ask the object: for ``__class__``, by its ``__getattribute__`` or by a module's
``__getattr__``. A proxy then answers for something else, a lazy module loads itself, a deprecated one warns.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard, TypeVar

_Kind = TypeVar("_Kind")


def is_a(value: object, kind: type[_Kind]) -> TypeGuard[_Kind]:
    """Whether the object's real type is `kind` or derived from it."""
    return issubclass(type(value), kind)


def attributes(value: object) -> Mapping[str, object]:
    """What ``vars()`` would give, or nothing."""
    if is_a(value, type):
        members: Mapping[str, object] = type.__getattribute__(value, "__dict__")
        return members
    if is_a(value, threading.local):
        found: dict[str, object] = vars(value)
        return found
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def file_of(module: object) -> str | None:
    """A module's ``__file__``, where it is set."""
    file = attributes(module).get("__file__")
    return file if type(file) is str else None


def folders_of(package: object) -> Iterator[str]:
    """A package's ``__path__``; empty for what is no package."""
    found: Any = attributes(package).get("__path__", ())
    return (path for path in found if type(path) is str) if issubclass(type(found), Iterable) else iter(())
