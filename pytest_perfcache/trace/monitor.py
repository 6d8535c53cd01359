"""Calls by ``sys.monitoring`` (PEP 669), with local events on the project's own code only.

A location is switched off when it is first hit and armed again with :meth:`MonitorTracer.take`, one function at a
time. ``sys.monitoring.restart_events`` would do the same for every tool and make the interpreter look again at every
function it runs, the standard library's and pytest's included.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType
from typing import Final

from pytest_perfcache.trace.calls import Scopes
from pytest_perfcache.trace.codes import SUSPENDS, Codes, is_function, nested

if sys.version_info >= (3, 12):
    _monitoring = sys.monitoring
    _getframe: Final = sys._getframe  # tests take it away from `sys`
    _NAME: Final = "pytest-perfcache"
    _WATCHED: Final = _monitoring.events.PY_START | _monitoring.events.PY_RETURN
    _CANDIDATES: Final = (4, 3, _monitoring.PROFILER_ID)

    class MonitorTracer:
        """Holds one of the six tool ids of the interpreter until :meth:`close`."""

        def __init__(self, codes: Codes, tool: int) -> None:
            self._codes = codes
            self._tool = tool
            self._numbers: dict[int, int] = {}
            self._kept: list[CodeType] = []
            self._hit: list[CodeType] = []
            self._watched: set[int] = set()
            self.scopes: Scopes | None = None
            _monitoring.register_callback(tool, _monitoring.events.PY_START, self._started)
            _monitoring.register_callback(tool, _monitoring.events.PY_RETURN, self._returned)
            _monitoring.register_callback(tool, _monitoring.events.PY_RESUME, self._resumed)

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
                    number = self._numbers[id(current)] = self._codes.number(path, current)
                    self._kept.append(current)
                    if number in self._codes.stateful:
                        self._watched.add(id(current))
                    _monitoring.set_local_events(self._tool, current, self._events(current))
            return code

        def watch(self, function: FunctionType) -> int | None:
            code = function.__code__
            number = self._numbers.get(id(code))
            if number is not None and id(code) not in self._watched:
                self._watched.add(id(code))
                _monitoring.set_local_events(self._tool, code, self._events(code))
            return number

        def _events(self, code: CodeType) -> int:
            events = _WATCHED if id(code) in self._watched else _monitoring.events.PY_START
            return events | _monitoring.events.PY_RESUME if code.co_flags & SUSPENDS else events

        def take(self) -> list[int]:
            hit, self._hit = self._hit, []
            if self.intact():
                arm, tool = _monitoring.set_local_events, self._tool
                for code in hit:
                    arm(tool, code, 0)
                    arm(tool, code, self._events(code))
            return [self._numbers[id(code)] for code in hit]

        def intact(self) -> bool:
            return _monitoring.get_tool(self._tool) == _NAME

        def close(self) -> None:
            if self.intact():
                for code in self._kept:
                    _monitoring.set_local_events(self._tool, code, 0)
                _monitoring.register_callback(self._tool, _monitoring.events.PY_START, None)
                for event in (_monitoring.events.PY_RETURN, _monitoring.events.PY_RESUME):
                    _monitoring.register_callback(self._tool, event, None)
                _monitoring.free_tool_id(self._tool)

        def _started(self, code: CodeType, _offset: int) -> object:
            self._hit.append(code)
            if id(code) not in self._watched or self.scopes is None:
                return _monitoring.DISABLE
            number = self._numbers[id(code)]
            if self.scopes.busy(number):
                return _monitoring.DISABLE
            self.scopes.enter(number, _getframe(1))
            return None

        def _resumed(self, code: CodeType, _offset: int) -> object:
            self._hit.append(code)
            return _monitoring.DISABLE

        def _returned(self, code: CodeType, _offset: int, _value: object) -> object:
            number = self._numbers[id(code)]
            if self.scopes is None or self.scopes.busy(number):
                return _monitoring.DISABLE
            self.scopes.leave(number)
            return None
