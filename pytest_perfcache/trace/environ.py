"""Sees environment variables being read, one by one, through ``os.environ`` and ``os.getenv``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

from pytest_perfcache.facts.surroundings import VOLATILE_VARIABLES
from pytest_perfcache.trace.audit import file_of_frame
from pytest_perfcache.trace.inputs import Inputs
from pytest_perfcache.trace.patches import Patches

_getframe: Final = sys._getframe  # tests take it away from `sys`
_PASSING_ON: Final = ("os", "collections.abc")  # which is `_collections_abc`
_PYTEST: Final = f"{os.sep}_pytest{os.sep}"
_OWN: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep


class EnvironObserver:
    """Patches the class of ``os.environ``; every other mapping is left alone. Undone by :meth:`close`."""

    def __init__(self, inputs: Inputs) -> None:
        self._patches = Patches()
        environ: Any = type(os.environ)
        getitem, iterate = environ.__getitem__, environ.__iter__

        strings, in_bytes = os.environ, getattr(os, "environb", None)

        def traced_getitem(self: Any, key: Any) -> Any:
            try:
                value = getitem(self, key)
            except KeyError:
                if self is strings or self is in_bytes:
                    _note(inputs, key, None)
                raise
            if self is strings or self is in_bytes:
                _note(inputs, key, value)
            return value

        def traced_iter(self: Any) -> Iterator[str]:
            if (self is strings or self is in_bytes) and not _harness(_getframe(1)):
                inputs.read_environment()
            found: Iterator[str] = iterate(self)
            return found

        setitem, delitem = environ.__setitem__, environ.__delitem__

        def traced_setitem(self: Any, key: Any, value: Any) -> None:
            setitem(self, key, value)
            if self is strings or self is in_bytes:
                _note_set(inputs, key, value)

        def traced_delitem(self: Any, key: Any) -> None:
            delitem(self, key)
            if self is strings or self is in_bytes:
                _note_set(inputs, key, None)

        for name, method in (
            ("__getitem__", traced_getitem),
            ("__iter__", traced_iter),
            ("__setitem__", traced_setitem),
            ("__delitem__", traced_delitem),
        ):
            self._patches.put(environ, name, method)

    def close(self) -> None:
        self._patches.close()


def _note(inputs: Inputs, key: object, value: str | bytes | None) -> None:
    if not isinstance(key, str | bytes) or inputs.is_read(key):
        return
    name = os.fsdecode(key)
    if name not in VOLATILE_VARIABLES and not _harness(_getframe(2)):
        inputs.read_variable(name, None if value is None else os.fsdecode(value))


def _note_set(inputs: Inputs, key: str | bytes, value: str | bytes | None) -> None:
    name = os.fsdecode(key)
    if name not in VOLATILE_VARIABLES:
        inputs.set_variable(name, None if value is None else os.fsdecode(value))


def _harness(frame: FrameType | None) -> bool:
    """Whether pytest reads the variable for itself; ``os`` and ``_collections_abc`` only pass the question on."""
    while frame is not None and dict.get(frame.f_globals, "__name__") in _PASSING_ON:
        frame = frame.f_back
    file = "" if frame is None else file_of_frame(frame)
    return _PYTEST in file or file.startswith(_OWN)
