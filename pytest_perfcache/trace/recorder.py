"""The recorder: knows which unit is at work, and gives it what was touched meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_perfcache.trace.calls import CallTracer
from pytest_perfcache.trace.codes import Codes
from pytest_perfcache.trace.modules import Modules
from pytest_perfcache.trace.unit import Unit, mask_of


class Recorder:
    """Units nest; what happens belongs to the innermost. One thread (the session's) enters and leaves units.

    What other threads do belongs to whichever unit is at work then.
    """

    def __init__(self, codes: Codes, calls: CallTracer, modules: Modules) -> None:
        self.codes = codes
        self.calls = calls
        self.modules = modules
        self.session = Unit("the session's own set-up")
        self._stack = [self.session]
        self._thread = threading.get_ident()

    @property
    def current(self) -> Unit:
        return self._stack[-1]

    @property
    def at_home(self) -> bool:
        """Whether the calling thread is the one that enters and leaves units."""
        return threading.get_ident() == self._thread

    @contextmanager
    def unit(self, unit: Unit) -> Iterator[Unit]:
        """Everything until the end of the block belongs to ``unit``."""
        self.enter(unit)
        try:
            yield unit
        finally:
            self.leave(unit)

    def enter(self, unit: Unit) -> None:
        self.flush()
        self._stack.append(unit)

    def leave(self, unit: Unit) -> None:
        self.flush()
        while len(self._stack) > 1 and self._stack.pop() is not unit:
            pass

    def flush(self) -> None:
        """Give the functions entered so far to the current unit."""
        hit = self.calls.take()
        if hit:
            unit, names = self._stack[-1], self.codes.names
            unit.blocks |= mask_of(hit)
            unit.modules.update({names[number][0] for number in hit})
        if not self.calls.intact():
            self.current.spoil("another tool took the tracer's place")
