"""Calls by a mark at the top of each function, for interpreters whose bytecode we know (3.11 to 3.13).

The mark is ``if armed: hits[number] = None; del armed[0]``, put into the bytecode after it was compiled or loaded and
before it is executed: a few ns a call, against 80 to 120 % for a trace function. It sees every thread, leaves the
slots of coverage, debuggers and profilers alone, and survives code that turns tracing off. The mark stands on the
line of the instruction behind it, so line tracers see no new line; what is written to ``__pycache__`` stays unmarked.
"""

from __future__ import annotations

import sys
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from pytest_perfcache.trace import bytecode
from pytest_perfcache.trace.codes import Codes, Read, is_function
from pytest_perfcache.trace.stateful import ON_DEMAND, Stateful

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Sized

    from pytest_perfcache.trace.calls import Scopes
    from pytest_perfcache.trace.codestore import CodeStore

_getframe: Final = sys._getframe  # tests take it away from `sys`
_identity: Final = object.__hash__  # `id` is an audit event
_OURS: Final = "\0pytest-perfcache "
_HITS: Final = f"{_OURS}hits"
"""In marked code as it is kept, before the place of the function in a list."""
_MARK: Final = 3
_BESIDE: Final = 4
"""Values that a mark puts on the stack at most, and a call beside its arguments: two places for it, two for another."""


class _Constant:
    """A constant of marked code objects has to be what constants are: hashable, and possible to pickle.

    It comes back empty: a pickled function (cloudpickle takes its code along) marks into the void.
    """

    __slots__ = ()
    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[type[_Constant], tuple[()]]:
        return type(self), ()


class _Hits(_Constant, dict[int, None]):  # type: ignore[misc]  # a dictionary has no hash
    """The functions that were entered."""

    __slots__ = ()


class _Numbers(_Constant, set[int]):  # type: ignore[misc]
    """Functions."""

    __slots__ = ()


class _Armed(_Constant, list[int]):  # type: ignore[misc]
    """Holds the number of a function whose next entry is to be noted, and nothing once it was."""

    __slots__ = ()


class _Link(_Constant):
    """Leads from marked code to its scopes, and nowhere once the code was pickled."""

    __slots__ = ("scopes",)

    def __init__(self) -> None:
        self.scopes: Scopes | None = None


class MarkTracer:
    """All marked code shares one dictionary, whose keys are the numbers of the functions entered.

    Marked code has that dictionary among its constants, and behind it the function's number, and what tells whether it
    is there already: to look at that takes half the time of storing it again.
    """

    def __init__(self, codes: Codes, store: CodeStore | None = None) -> None:
        self._codes = codes
        self._store = store
        self._hits = _Hits()
        self._armed: dict[int, _Armed] = {}
        """By number of the function."""
        self._link = _Link()
        self.busy: set[int] = _Numbers()
        self.awaited: set[int] = _Numbers()
        stand_ins = {
            "enter": _enter,
            "enter on": _enter_on,
            "enter in": _enter_in,
            "leave": _leave,
            "link": self._link,
            "busy": self.busy,
            "awaited": self.awaited,
            "globals": globals,
        }
        self._stand_ins: dict[str, object] = {f"{_OURS}{name}": value for name, value in stand_ins.items()}
        """Constants of marked code as it is kept, for those that belong to this process."""

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

    def watch(self, function: FunctionType, names: tuple[str, ...] = ()) -> int | None:
        code = function.__code__
        number = self.number_of(code)
        if number is not None and not any(constant is _leave for constant in code.co_consts):
            function.__code__ = self._watched(code, code.co_consts, number, names)
        return number

    def number_of(self, code: CodeType) -> int | None:
        constants = code.co_consts
        at = next((at for at, constant in enumerate(constants) if constant is self._hits), None)
        return None if at is None else constants[at + 1]

    def take(self) -> list[int]:
        hits, armed = self._hits, self._armed
        if not hits:
            return []
        hit = [*hits]
        hits.clear()  # no other thread got its turn since: see the mark
        # After that, not before: what is entered between would be forgotten here, and never be noted again.
        for number in hit:
            armed[number].append(number)
        return hit

    @property
    def entered(self) -> Sized | None:
        return self._hits

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
        return bytecode.insert(code, dict.fromkeys(places, mark), (*constants, *self._noting(number)), _MARK)

    def _noting(self, number: int) -> tuple[object, ...]:
        """The constants of a mark."""
        armed = self._armed.get(number)
        if armed is None:
            armed = self._armed[number] = _Armed((number,))
        return None, self._hits, number, armed, 0

    def _watched(
        self, code: CodeType, constants: tuple[object, ...], number: int, names: tuple[str, ...] = ()
    ) -> CodeType:
        """Marked, and the scopes called at start and return, where they want to be told of these."""
        state = self._codes.stateful.get(number, Stateful())
        told = tuple(dict.fromkeys((*state.told, *names)))
        outer = tuple(name for name in told if name in code.co_freevars)
        tell: Callable[..., None] = _enter_on
        if not bytecode.are_at_hand(code, told):
            tell = _enter
        elif outer or state.globals or code.co_name in ON_DEMAND:
            tell = _enter_in
        own = (*self._noting(number), tell, _leave, self._link, self.busy, self.awaited, told, outer, globals)
        first = len(constants)
        _, _, this, _, _, enter, leave, link, busy, awaited, *more = map(bytecode.load, range(first, first + len(own)))
        arguments = [link, this, *_arguments(code, told, tell, more)]
        started = bytecode.only(this, busy, bytecode.call(enter, arguments), within=False)
        left = bytecode.only(this, awaited, bytecode.call(leave, (link, this)), within=True)
        mark = bytecode.mark(first)
        insertions = dict.fromkeys(bytecode.resumptions(code), mark)
        insertions[bytecode.start(code)] = mark + started
        # A function may return where it starts, and a generator where it goes on.
        insertions |= {at: insertions.get(at, b"") + left for at in bytecode.returns(code)}
        return bytecode.insert(code, insertions, (*constants, *own), _BESIDE + len(arguments))

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
                next(waiting)  # what the number alone tells
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
                constants += self._noting(numbers[next(waiting)])[1:4]
            else:
                constants.append(self._stand_ins[constant])
        return code.replace(co_consts=tuple(constants))


def _arguments(code: CodeType, told: tuple[str, ...], tell: object, constants: Sequence[bytes]) -> list[bytes]:
    """What loads the further arguments of a call at the start; ``constants`` load those of them that there are."""
    if tell is _enter:
        return []
    names, outer, namespace = constants
    values = [bytecode.load_variable(code, name) for name in told]
    return [names, outer, bytecode.call(namespace, ()), *values] if tell is _enter_in else [names, *values]


def _enter(link: _Link, number: int) -> None:
    """Called by watched code when it starts."""
    scopes = link.scopes
    if scopes is not None:
        scopes.enter(number, _getframe(1))


def _enter_on(link: _Link, number: int, names: tuple[str, ...], *holders: object) -> None:
    """The same, with the objects that the code works on: the frame is asked for only where that is not enough."""
    scopes = link.scopes
    if scopes is None:
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


def _enter_in(
    link: _Link,
    number: int,
    names: tuple[str, ...],
    outer: tuple[str, ...],
    namespace: dict[str, Any],
    *values: object,
) -> None:
    """The same, with its globals; variables of the functions around it come in their cells."""
    scopes = link.scopes
    if scopes is None:
        return
    if outer:
        values = tuple(_content(value) if name in outer else value for name, value in zip(names, values, strict=True))
    if not scopes.meets(number, names, values, outer, namespace):
        scopes.enter(number, _getframe(1))


def _content(cell: Any) -> object:
    """What is in a cell; None where nothing is yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _leave(link: _Link, number: int) -> None:
    """Called by watched code just before it returns."""
    scopes = link.scopes
    if scopes is not None:
        scopes.leave(number)
