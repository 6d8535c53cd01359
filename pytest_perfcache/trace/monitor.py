"""Calls by ``sys.monitoring`` (PEP 669), with local events on the project's own code only.

A location that is hit again and again is switched off, and armed again with :meth:`MonitorTracer.take`, one
function at a time. ``sys.monitoring.restart_events`` would do the same for every tool and make the interpreter look
again at every function it runs, the standard library's and pytest's included.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Final

from pytest_perfcache.trace.calls import Scopes
from pytest_perfcache.trace.codes import SUSPENDS, Codes, is_function, nested

if sys.version_info >= (3, 12):
    _monitoring = sys.monitoring
    _EVENTS: Final = _monitoring.events
    _getframe: Final = sys._getframe  # tests take it away from `sys`
    _NAME: Final = "pytest-perfcache"
    _WATCHED: Final = _EVENTS.PY_START | _EVENTS.PY_RETURN
    _identity: Final = object.__hash__  # `id` is an audit event
    _OFTEN: Final = 4
    """Times that a function is seen before it is switched off: arming it again costs about as much."""
    _CANDIDATES: Final = (4, 3, _monitoring.PROFILER_ID)

    class MonitorTracer:
        """Holds one of the six tool ids of the interpreter until :meth:`close`."""

        def __init__(self, codes: Codes, tool: int) -> None:
            self._codes = codes
            self._tool = tool
            self._numbers: dict[int, int] = {}
            self._kept: list[CodeType] = []
            self._hits: dict[int, int] = {}
            """Number of the function → how often it was seen since the last look."""
            self._off: list[CodeType] = []
            """Code with a location that was switched off."""
            self._watched: set[int] = set()
            self.scopes: Scopes | None = None
            self.busy: set[int] = set()
            self.awaited: set[int] = set()
            _monitoring.register_callback(tool, _EVENTS.PY_START, self._on_start())
            _monitoring.register_callback(tool, _EVENTS.PY_RETURN, self._returned)
            _monitoring.register_callback(tool, _EVENTS.PY_RESUME, self._resumed)

        @classmethod
        def acquire(cls, codes: Codes) -> MonitorTracer | None:
            for tool in _CANDIDATES:
                if _monitoring.get_tool(tool) is None:
                    _monitoring.use_tool_id(tool, _NAME)
                    return cls(codes, tool)
            return None

        def instrument(self, code: CodeType, path: str) -> CodeType:
            waiting = [code]
            while waiting:
                current = waiting.pop()
                waiting += nested(current)
                if is_function(current):
                    number = self._numbers[_identity(current)] = self._codes.number(path, current)
                    self._kept.append(current)
                    if number in self._codes.stateful:
                        self._watched.add(_identity(current))
                    _monitoring.set_local_events(self._tool, current, self._events(current))
            return code

        def watch(self, function: FunctionType, names: tuple[str, ...] = ()) -> int | None:  # noqa: ARG002 - the scopes look at the frame
            code = function.__code__
            number = self.number_of(code)
            if number is not None and _identity(code) not in self._watched:
                self._watched.add(_identity(code))
                _monitoring.set_local_events(self._tool, code, self._events(code))
            return number

        def number_of(self, code: CodeType) -> int | None:
            return self._numbers.get(_identity(code))

        def _events(self, code: CodeType) -> int:
            events = _WATCHED if _identity(code) in self._watched else _EVENTS.PY_START
            return events | _EVENTS.PY_RESUME if code.co_flags & SUSPENDS else events

        def take(self) -> list[int]:
            hit = list(self._hits)
            # One by one, because other threads go on: what they enter meanwhile stays for the next call.
            for _ in map(self._hits.pop, hit, hit):
                pass
            if self._off and self.intact():
                arm, tool = _monitoring.set_local_events, self._tool
                for _ in range(len(self._off)):
                    code = self._off.pop()
                    arm(tool, code, 0)
                    arm(tool, code, self._events(code))
            return hit

        @property
        def entered(self) -> None:
            """The interpreter stops telling before it clears its modules."""

        def intact(self) -> bool:
            return _monitoring.get_tool(self._tool) == _NAME

        def close(self) -> None:
            if self.intact():
                for code in self._kept:
                    _monitoring.set_local_events(self._tool, code, 0)
                _monitoring.register_callback(self._tool, _EVENTS.PY_START, None)
                for event in (_EVENTS.PY_RETURN, _EVENTS.PY_RESUME):
                    _monitoring.register_callback(self._tool, event, None)
                _monitoring.free_tool_id(self._tool)

        def _on_start(self) -> Callable[[CodeType, int], object]:
            """What is called at every start that is not switched off; a closure is faster than a method."""
            numbers, hits, watched, off, busy = self._numbers, self._hits, self._watched, self._off, self.busy

            def started(code: CodeType, _offset: int) -> object:
                identity = _identity(code)
                number = numbers[identity]
                seen = hits[number] = hits.get(number, 0) + 1
                if identity in watched and self.scopes is not None:
                    if number not in busy:
                        self.scopes.enter(number, _getframe(1))
                        return None
                elif seen < _OFTEN:
                    return None
                off.append(code)
                return _monitoring.DISABLE

            return started

        def _resumed(self, code: CodeType, _offset: int) -> object:
            number = self._numbers[_identity(code)]
            seen = self._hits[number] = self._hits.get(number, 0) + 1
            if seen < _OFTEN:
                return None
            self._off.append(code)
            return _monitoring.DISABLE

        def _returned(self, code: CodeType, _offset: int, _value: object) -> object:
            number = self._numbers[_identity(code)]
            if self.scopes is None or number in self.busy:
                self._off.append(code)
                return _monitoring.DISABLE
            if number in self.awaited:
                self.scopes.leave(number)
            return None
