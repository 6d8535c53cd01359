"""Calls by a mark at the top of each function, for interpreters whose bytecode we know (3.11 to 3.13).

The mark is four instructions, ``hits[number] = None``, put into the bytecode after it was compiled or loaded and
before it is executed: about 20 ns a call, against 80 to 120 % for a trace function. It sees every thread, leaves the
slots of coverage, debuggers and profilers alone, and survives code that turns tracing off. The mark stands on the
line of the instruction behind it, so line tracers see no new line; what is written to ``__pycache__`` stays unmarked.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Final

from pytest_perfcache.trace import bytecode
from pytest_perfcache.trace.codes import Codes, Read, is_function
from pytest_perfcache.trace.stateful import Stateful

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_perfcache.trace.calls import Scopes
    from pytest_perfcache.trace.codestore import CodeStore

_getframe: Final = sys._getframe  # tests take it away from `sys`
_identity: Final = object.__hash__  # `id` is an audit event
_OURS: Final = "\0pytest-perfcache "
_HITS, _ENTER, _ENTER_ON, _LEAVE, _LINK = (f"{_OURS}{name}" for name in ("hits", "enter", "enter on", "leave", "link"))
"""Constants of marked code as it is kept. That of the hits stands before the place of the function in a list."""


class _Hits(dict[int, None]):
    """A constant of marked code objects, so it has to be what constants are: hashable, and possible to pickle.

    A pickled function (cloudpickle takes its code along) marks into the void.
    """

    __slots__ = ()
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[_Hits], tuple[()]]:
        return _Hits, ()


class MarkTracer:
    """All marked code shares one dictionary, whose keys are the numbers of the functions entered.

    Marked code has that dictionary among its constants, and behind it the function's number.
    """

    def __init__(self, codes: Codes, store: CodeStore | None = None) -> None:
        self._codes = codes
        self._store = store
        self._hits = _Hits()
        self._link = _Link()
        self._stand_ins = {_ENTER: _enter, _ENTER_ON: _enter_on, _LEAVE: _leave, _LINK: self._link}

    @property
    def scopes(self) -> Scopes | None:
        return self._link.scopes

    @scopes.setter
    def scopes(self, scopes: Scopes | None) -> None:
        self._link.scopes = scopes

    def instrument(self, code: CodeType, path: str) -> CodeType:
        known = None if self._store is None else self._store.get(path, code)
        if known is not None:
            functions, template = known
            numbers = [self._codes.add(path, qualname, Read.restored(read)) for qualname, read in functions]
            return self._restored(template, numbers)
        reads: list[tuple[str, Read]] = []
        marked = self._instrumented(code, path, reads)
        if self._store is not None:
            functions = [(qualname, read.plain()) for qualname, read in reads]
            self._store.put(path, code, (functions, self._template(marked, self._places(path, reads))))
        return marked

    def _instrumented(self, code: CodeType, path: str, reads: list[tuple[str, Read]]) -> CodeType:
        constants = tuple(
            self._instrumented(constant, path, reads) if isinstance(constant, CodeType) else constant
            for constant in code.co_consts
        )
        if not is_function(code):
            return code.replace(co_consts=constants)
        number, read = self._codes.read_in(path, code)
        reads.append((self._codes.names[number][1], read))
        if number in self._codes.stateful:
            return self._watched(code, constants, number)
        return self._marked(code, constants, number)

    def watch(self, function: FunctionType) -> int | None:
        code = function.__code__
        number = self.number_of(code)
        if number is not None and not any(constant is _leave for constant in code.co_consts):
            function.__code__ = self._watched(code, code.co_consts, number)
        return number

    def number_of(self, code: CodeType) -> int | None:
        constants = code.co_consts
        at = next((at for at, constant in enumerate(constants) if constant is self._hits), None)
        return None if at is None else constants[at + 1]

    def take(self) -> list[int]:
        hit = list(self._hits)
        # One by one, because other threads go on: what they enter meanwhile stays for the next call.
        for _ in map(self._hits.pop, hit, hit):
            pass
        return hit

    def intact(self) -> bool:
        return True

    def close(self) -> None:
        if self._store is not None:
            self._store.flush()
        self._hits.clear()
        self.scopes = None

    def _marked(self, code: CodeType, constants: tuple[object, ...], number: int) -> CodeType:
        places = (bytecode.start(code), *bytecode.resumptions(code))
        mark = bytecode.mark(len(constants))
        return bytecode.insert(code, dict.fromkeys(places, mark), (*constants, None, self._hits, number))

    def _watched(self, code: CodeType, constants: tuple[object, ...], number: int) -> CodeType:
        """Marked, and the scopes called at start and return."""
        first = len(constants)
        mark = bytecode.mark(first)
        arguments = (first + 5, first + 2)
        heads = self._heads(code, number)
        if heads is None:
            begin = bytecode.call(first + 3, arguments)
        else:
            begin = bytecode.call(first + 3, (*arguments, first + 6), bytecode.load_arguments(code, heads))
        insertions = dict.fromkeys(bytecode.resumptions(code), mark)
        insertions[bytecode.start(code)] = mark + begin
        leave = bytecode.call(first + 4, arguments)
        # A function may return where it starts, and a generator where it goes on.
        insertions |= {at: insertions.get(at, b"") + leave for at in bytecode.returns(code)}
        told = (_enter, _leave, self._link) if heads is None else (_enter_on, _leave, self._link, heads)
        return bytecode.insert(code, insertions, (*constants, None, self._hits, number, *told))

    def _places(self, path: str, reads: list[tuple[str, Read]]) -> dict[int, int]:
        """Numbers of functions → their places in the list."""
        return {self._codes.enter(path, qualname): place for place, (qualname, _) in enumerate(reads)}

    def _template(self, code: CodeType, places: Mapping[int, int]) -> CodeType:
        """Marked code with texts in the place of what belongs to this process."""
        names = {_identity(value): name for name, value in self._stand_ins.items()}
        constants: list[object] = []
        waiting = iter(code.co_consts)
        for constant in waiting:
            if constant is self._hits:
                constants += (_HITS, places[next(waiting)])
            elif isinstance(constant, CodeType):
                constants.append(self._template(constant, places))
            else:
                constants.append(names.get(_identity(constant), constant))
        return code.replace(co_consts=tuple(constants))

    def _restored(self, code: CodeType, numbers: Sequence[int]) -> CodeType:
        """The opposite of the template."""
        constants: list[object] = []
        waiting = iter(code.co_consts)
        for constant in waiting:
            if isinstance(constant, CodeType):
                constants.append(self._restored(constant, numbers))
            elif type(constant) is not str or not constant.startswith(_OURS):
                constants.append(constant)
            elif constant == _HITS:
                constants += (self._hits, numbers[next(waiting)])
            else:
                constants.append(self._stand_ins[constant])
        return code.replace(co_consts=tuple(constants))

    def _heads(self, code: CodeType, number: int) -> tuple[str, ...] | None:
        """The arguments that may keep something; None where they are not all that is to be known at the start."""
        state = self._codes.stateful.get(number, Stateful())
        return None if state.keys or not bytecode.are_at_hand(code, state.heads) else state.heads


class _Link:
    """A constant that leads from marked code to its scopes, and nowhere once the code was pickled."""

    __slots__ = ("scopes",)

    def __init__(self) -> None:
        self.scopes: Scopes | None = None

    def __reduce__(self) -> tuple[type[_Link], tuple[()]]:
        return _Link, ()


def _enter(link: _Link, number: int) -> None:
    """Called by watched code when it starts."""
    scopes = link.scopes
    if scopes is not None and number not in scopes.busy:
        scopes.enter(number, _getframe(1))


def _enter_on(link: _Link, number: int, names: tuple[str, ...], *holders: object) -> None:
    """The same, with the objects that the code works on: the frame is asked for only where that is not enough."""
    scopes = link.scopes
    if scopes is None or number in scopes.busy:
        return
    if holders and number in scopes.loose:
        met = scopes.met_here
        for holder in holders:
            known = met.get(_identity(holder))
            if known is None or known() is not holder:
                break
        else:
            return
    if not scopes.meets(number, names, holders):
        scopes.enter(number, _getframe(1))


def _leave(link: _Link, number: int) -> None:
    """Called by watched code just before it returns, most of which opened no scope."""
    scopes = link.scopes
    if scopes is not None and scopes.open and number not in scopes.closed:
        scopes.leave(number)
