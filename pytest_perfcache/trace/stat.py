"""Sees paths being looked at without being opened: ``os.stat`` and what stands on it, such as ``Path.exists``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from pytest_perfcache.trace.audit import harness_asks
from pytest_perfcache.trace.inputs import Inputs


class StatObserver:
    """Patches four functions of ``os``; the import machinery has its own. Undone by :meth:`close`."""

    def __init__(self, inputs: Inputs, guarded: Callable[[Callable[[], None]], None]) -> None:
        """``guarded`` calls what it is given unless this thread is observing already."""
        self._undo = ExitStack()
        for name in ("stat", "lstat", "access", "readlink"):
            self._patch(name, inputs, guarded)

    def close(self) -> None:
        self._undo.close()

    def _patch(self, name: str, inputs: Inputs, guarded: Callable[[Callable[[], None]], None]) -> None:
        original = getattr(os, name)

        def looked_at(path: Any, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(path, int) and not harness_asks(2):
                guarded(lambda: inputs.looked_at(os.fsdecode(path)))
            return original(path, *args, **kwargs)

        looked_at.__name__ = name
        looked_at.__doc__ = original.__doc__
        setattr(os, name, looked_at)
        self._undo.callback(setattr, os, name, original)
