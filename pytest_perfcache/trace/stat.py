"""Sees paths being looked at without being opened: ``os.stat`` and what stands on it, such as ``Path.exists``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pytest_perfcache.trace.audit import harness_asks
from pytest_perfcache.trace.inputs import Inputs
from pytest_perfcache.trace.patches import Patches


class StatObserver:
    """Patches four functions of ``os``; the import machinery has its own. Undone by :meth:`close`."""

    def __init__(self, inputs: Inputs, guarded: Callable[[Callable[[], None]], None], busy: Callable[[], bool]) -> None:
        """``guarded`` calls what it is given unless this thread is observing already, which ``busy`` tells."""
        self._busy = busy
        self._patches = Patches()
        self._inputs = inputs
        for name in ("stat", "lstat", "access", "readlink"):
            self._patch(name, inputs.looked_at, guarded)
        self._patch("open", inputs.read_file, guarded, only_relative=True)

    def close(self) -> None:
        self._patches.close()

    def _patch(
        self,
        name: str,
        note: Callable[[str], None],
        guarded: Callable[[Callable[[], None]], None],
        *,
        only_relative: bool = False,
    ) -> None:
        """``only_relative``: note only paths relative to an open directory, which no audit event tells."""
        original, is_foreign, is_known, busy = (
            getattr(os, name),
            self._inputs.is_foreign,
            self._inputs.is_known,
            self._busy,
        )

        def looked_at(path: Any, *args: Any, dir_fd: int | None = None, **kwargs: Any) -> Any:
            if dir_fd is not None:
                kwargs["dir_fd"] = dir_fd
            elif is_foreign(path) or is_known(path) or busy():
                return original(path, *args, **kwargs)
            if not isinstance(path, int) and (dir_fd is not None or not only_relative) and not harness_asks(2):
                guarded(lambda: note(_full(os.fsdecode(path), dir_fd)))
            return original(path, *args, **kwargs)

        looked_at.__name__ = name
        looked_at.__doc__ = original.__doc__
        self._patches.put(os, name, looked_at)


def _full(path: str, directory: int | None) -> str:
    """The path as seen from an open directory, where one is given and the system tells its name."""
    if directory is None:
        return path
    return os.path.join(os.path.realpath(f"/proc/self/fd/{directory}"), path)
