"""The recorder: knows which unit is at work, and gives it what was touched meanwhile."""

from __future__ import annotations

import functools
import typing
from _thread import get_ident
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any, Final

from pytest_perfcache.model import defaults_of
from pytest_perfcache.trace.ambient import Ambient
from pytest_perfcache.trace.calls import CallTracer
from pytest_perfcache.trace.codes import Codes
from pytest_perfcache.trace.kept import Kept
from pytest_perfcache.trace.looking import attributes, is_a
from pytest_perfcache.trace.modules import Modules
from pytest_perfcache.trace.unit import Unit

_CHANGEABLE: Final = (dict, list, set)


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
        self.kept = Kept(codes, calls, self.gather, self._current_here, self._stack)
        calls.scopes = self.kept
        self.ambient = Ambient()
        self._thread = get_ident()
        self._inherited = 0
        self.guarded: Callable[[Callable[[], None]], None] = lambda look: look()
        """Calls what looks at objects of the program, so that this is not taken for the program's doing."""

    @property
    def current(self) -> Unit:
        return self._stack[-1]

    def _current_here(self) -> Unit | None:
        return self._stack[-1] if get_ident() == self._thread else None

    @property
    def at_home(self) -> bool:
        """Whether the calling thread is the one that enters and leaves units."""
        return get_ident() == self._thread

    @property
    def stack(self) -> tuple[Unit, ...]:
        """The units at work, innermost last."""
        return tuple(self._stack)

    def continue_here(self) -> None:
        """This process is a copy of the one that entered the units, and this thread its only one."""
        self._thread = get_ident()
        self._inherited = len(self._stack)

    @contextmanager
    def unit(self, unit: Unit) -> Iterator[Unit]:
        """Everything until the end of the block belongs to ``unit``."""
        self.enter(unit)
        try:
            yield unit
        finally:
            self.end(unit)

    def enter(self, unit: Unit) -> None:
        self.flush()
        self._stack.append(unit)

    def leave(self, unit: Unit) -> None:
        self.flush()
        while len(self._stack) > 1 and self._stack.pop() is not unit:
            pass
        if len(self._stack) < self._inherited:
            self.session.spoil("a copy of the process goes on where the original was")

    def end(self, unit: Unit) -> None:
        """The same for what is no test: others may stand on it, and it on what was kept."""
        self.leave(unit)
        self.kept.ended(unit)

    def gather(self) -> None:
        """Give the functions entered so far to the units at work."""
        hit = self.calls.take()
        if hit:
            self.kept.scopes.note(hit, self._stack[-1])

    def flush(self) -> None:
        """The same, so that each of them knows, and see whether all could be seen."""
        self.gather()
        self.kept.scopes.share(self._stack[-1])
        self.kept.count_hits(self._stack[-1])
        self.kept.met_here.clear()
        if not self.calls.intact():
            self.spoil("another tool took the tracer's place")

    def add_module(self, path: str) -> None:
        """A project module is imported."""
        self._stack[-1].modules.add(path)
        for keeper in self.kept.open:
            keeper.unit.modules.add(path)

    def add_import(self, name: str) -> None:
        """A top-level name is imported by a computed name, or in vain."""
        for unit in self.at_work():
            unit.imports.add(name)

    def add_input(self, key: str) -> None:
        """Something outside the code is used."""
        for unit in self.at_work():
            unit.inputs.add(key)

    def has_input(self, key: str) -> bool:
        """Whether all that is at work depends on something outside the code already."""
        return key in self._stack[-1].inputs and all(key in keeper.unit.inputs for keeper in self.kept.open)

    def add_defaults(self, code: CodeType, *, everywhere: bool) -> None:
        """The default values of a function are looked at; ``everywhere``: by somebody who may keep what was seen."""
        number = self.calls.number_of(code)
        if number is None:
            return
        path, qualname = self.codes.names[number]
        if "<" not in code.co_qualname:
            number = self.codes.enter(path, defaults_of(qualname))
        for unit in (*self.at_work(), *((self.session,) if everywhere else ())):
            unit.blocks.add(number)

    def stand_on(self, unit: Unit) -> None:
        """What another unit made is used."""
        for working in self.at_work():
            working.stand_on(unit)

    def take_in(self, unit: Unit) -> None:
        """Another unit has ended, and nobody but those at work will stand on it: there are fewer units without it."""
        for working in self.at_work():
            if unit in working.parts:
                del working.parts[unit]
                working.take_in(unit)

    def spoil(self, why: str) -> None:
        """Something happens that can not be tracked."""
        for unit in self.at_work():
            unit.spoil(why)

    def noted(self, function: FunctionType, around: object) -> None:
        """``functools`` wrapped a function so that its result is kept."""
        is_property = is_a(around, functools.cached_property)
        own = function.__code__.co_varnames[:1] if is_property else ()
        number = self.calls.watch(function, own)
        if number is None:
            return
        if not is_property:
            self.kept.add_cache(number, around)
        elif own:  # without an argument it computes nothing
            self.kept.add_property(number, own[0])

    def loaded(self, path: str, namespace: dict[str, Any]) -> None:
        """A module was imported: watch its functions that have changeable default values, and what fills a default."""
        if typing.TYPE_CHECKING:  # somebody set it
            self.spoil("imports modules as for a type checker")
        self.kept.loaded(path, namespace)
        self.guarded(lambda: self._watch(namespace))

    def _watch(self, namespace: dict[str, Any]) -> None:
        for name, value in list(namespace.items()):
            if type(value) is defaultdict and type(value.default_factory) is FunctionType:
                number = self.calls.watch(value.default_factory)
                if number is not None:
                    self.kept.add_global(number, name)
            members = list(attributes(value).values()) if is_a(value, type) else [value]
            for member in members:
                function = member.__func__ if is_a(member, staticmethod) or is_a(member, classmethod) else member
                if type(function) is FunctionType:
                    self._watch_defaults(function)

    def _watch_defaults(self, function: FunctionType) -> None:
        values = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        changeable = [value for value in values if issubclass(type(value), _CHANGEABLE)]
        if changeable:
            number = self.calls.watch(function)
            if number is not None:
                self.kept.add_defaults(number, changeable)

    def at_work(self) -> list[Unit]:
        """The current unit, and those of the open scopes."""
        return [self._stack[-1], *(keeper.unit for keeper in self.kept.open)]
