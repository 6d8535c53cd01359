"""Whether anything of the project ran in a child process after it had told what it touched.

A child tells as the last of its exit functions. Finalizers (``__del__``) of objects that live on, in globals of modules
and in cycles, run later, while the interpreter clears its modules and collects garbage a last time. An object that is
freed after all that sees whether a function was entered since, and says so by a byte in a file that it opened in time:
nothing but C functions can be relied on by then. No byte means that something ran, or that the process was killed.

Freed last (``interpreter_clear`` in CPython's ``pystate.c``) are the namespaces of ``sys`` and ``builtins``. They were
emptied before the last collection (``_PyModule_ClearDict``), but for one name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sized
from typing import Final

from pytest_perfcache.facts.stats import read_bytes

_NAME: Final = "__builtins__"
_QUIET: Final = b"1"
_SUFFIX: Final = ".quiet"


class _Ending:
    """``entered``: what was entered since the child told."""

    def __init__(self, entered: Sized, file: str) -> None:
        self._entered = entered
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def __del__(self, write=os.write, quiet=_QUIET) -> None:  # type: ignore[no-untyped-def]  # globals are gone by now
        if not self._entered:
            write(self._file, quiet)


def watch_the_end(entered: Sized, account: str) -> None:
    """Say beside the account, once the interpreter has ended, whether nothing was entered meanwhile."""
    setattr(sys, _NAME, _Ending(entered, account + _SUFFIX))


def ended_quietly(account: str) -> bool:
    """Whether that was said by now."""
    try:
        return read_bytes(account + _SUFFIX) == _QUIET
    except OSError:
        return False
