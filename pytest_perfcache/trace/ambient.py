"""Settings of the whole process that an import or a fixture changes for every test that follows.

The working directory, the locale, the limit of recursion, the level of the root logger, the decimal precision, the
time-out of sockets: nobody who stands under them names who set them. So they are compared, which costs microseconds.
"""

from __future__ import annotations

import _locale
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_perfcache.trace.unit import Unit


class Ambient:
    """Who changed which setting, if it is not what it was at first."""

    def __init__(self) -> None:
        self._first = self._now = _settings()
        self._changed: dict[int, Unit] = {}

    def look(self, unit: Unit) -> None:
        """``unit`` ends: what is other than before, it changed."""
        now = _settings()
        if now == self._now:
            return
        for number, value in enumerate(now):
            if value == self._first[number]:
                self._changed.pop(number, None)
            elif value != self._now[number]:
                self._changed[number] = unit
        self._now = now

    def surround(self, unit: Unit) -> None:
        """``unit`` begins: it stands on who changed what it finds."""
        for changer in self._changed.values():
            unit.stand_on(changer)


def _settings() -> tuple[object, ...]:
    """Of a module that is not loaded, what its loading would set."""
    logging, decimal, socket = map(sys.modules.get, ("logging", "decimal", "socket"))
    return (
        _directory(),
        _locale.setlocale(_locale.LC_ALL),
        sys.getrecursionlimit(),
        (30, 0) if logging is None else (logging.root.level, logging.root.manager.disable),
        (28, "ROUND_HALF_EVEN") if decimal is None else _decimal(decimal.getcontext()),
        None if socket is None else socket.getdefaulttimeout(),
    )


def _decimal(context: Any) -> tuple[int, str]:
    return context.prec, context.rounding


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None
