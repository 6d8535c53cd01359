"""Calls by a mark at the top of each function, for interpreters without ``sys.monitoring`` (3.11).

The mark is four instructions, ``hits[number] = None``, put into the bytecode after it was compiled or loaded and
before it is executed: about 20 ns a call, against 80 to 120 % for a trace function. It sees every thread, leaves the
slots of coverage, debuggers and profilers alone, and survives code that turns tracing off. The mark stands on the
line of the instruction behind it, so line tracers see no new line; what is written to ``__pycache__`` stays unmarked.

Only for 3.11, whose bytecode will not change any more: its jumps are all relative, so that only the exception table
and the location table need to know of the insertion. Formats: ``Objects/exception_handling_notes.txt`` and
``Objects/locations.md`` in the sources of CPython 3.11.
"""

from __future__ import annotations

import opcode
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from types import CodeType, FunctionType
from typing import Final

from pytest_perfcache.trace.calls import Scopes
from pytest_perfcache.trace.codes import SUSPENDS, Codes, argument_at, is_function

_getframe: Final = sys._getframe  # tests take it away from `sys`
_RESUME: Final = opcode.opmap["RESUME"]
_LOAD_FAST: Final = opcode.opmap["LOAD_FAST"]
_LOAD_CONST: Final = opcode.opmap["LOAD_CONST"]
_STORE_SUBSCR: Final = opcode.opmap["STORE_SUBSCR"]
_EXTENDED_ARG: Final = opcode.opmap["EXTENDED_ARG"]
_RETURN_VALUE: Final = opcode.opmap["RETURN_VALUE"]
_PUSH_NULL: Final = opcode.opmap["PUSH_NULL"]
_PRECALL: Final = opcode.opmap.get("PRECALL", 0)
_CALL: Final = opcode.opmap["CALL"]
_POP_TOP: Final = opcode.opmap["POP_TOP"]
_JUMPS: Final = frozenset(opcode.hasjrel)
_BACKWARD: Final = frozenset(code for name, code in opcode.opmap.items() if "BACKWARD" in name)
_CACHES: Final[Sequence[int]] = getattr(opcode, "_inline_cache_entries", ())
_STORE: Final = bytes((_STORE_SUBSCR, 0, 0, 0))
"""With its one inline cache entry."""
_NEAR: Final = (10, 11, 12)
"""Kinds of location entries: columns in two bytes, the line's difference in the kind."""
_WITHOUT_COLUMNS: Final = 13
_LONG: Final = 14
_NOWHERE: Final = 15
_LINE: Final = 0x80 | _WITHOUT_COLUMNS << 3
_STACK: Final = 5


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

    The last constants of marked code are that dictionary and the function's number.
    """

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._hits = _Hits()
        self.scopes: Scopes | None = None

    def instrument(self, code: CodeType, path: str) -> CodeType:
        constants = tuple(
            self.instrument(constant, path) if isinstance(constant, CodeType) else constant
            for constant in code.co_consts
        )
        if not is_function(code):
            return code.replace(co_consts=constants)
        number = self._codes.number(path, code)
        if number in self._codes.stateful:
            watched = self._watched(code, constants, number)
            if watched is not None:
                return watched
        return self._marked(code, constants, number)

    def watch(self, function: FunctionType) -> int | None:
        code = function.__code__
        number = self._number_of(code)
        if number is not None and not any(constant is _leave for constant in code.co_consts):
            watched = self._watched(code, code.co_consts, number)
            if watched is not None:
                function.__code__ = watched
        return number

    def take(self) -> list[int]:
        hit = list(self._hits)
        # One by one, because other threads go on: what they enter meanwhile stays for the next call.
        for _ in map(self._hits.pop, hit, hit):
            pass
        return hit

    def intact(self) -> bool:
        return True

    def close(self) -> None:
        self._hits.clear()
        self.scopes = None

    def _number_of(self, code: CodeType) -> int | None:
        constants = code.co_consts
        at = next((at for at, constant in enumerate(constants) if constant is self._hits), None)
        return None if at is None else constants[at + 1]

    def _marked(self, code: CodeType, constants: tuple[object, ...], number: int) -> CodeType:
        first = len(constants)
        mark = _mark(first)
        added = (*constants, None, self._hits, number)
        try:
            return _insert(code, dict.fromkeys((_start(code), *_resumptions(code)), mark), added)
        except ValueError:
            return _insert(code, {_start(code): mark}, added)

    def _watched(self, code: CodeType, constants: tuple[object, ...], number: int) -> CodeType | None:
        """Marked, and the scopes called at start and return; None where the code does not take the insertions."""
        first = len(constants)
        mark = _mark(first)
        holder = self._holder(code, number)
        enter = _call(first + 3, first + 5, first + 2, b"" if holder is None else bytes((_LOAD_FAST, holder)))
        leave = _call(first + 4, first + 5, first + 2)
        raw = code.co_code
        returns = (at for at in range(0, len(raw), 2) if raw[at] == _RETURN_VALUE)
        insertions = dict.fromkeys(returns, leave) | dict.fromkeys(_resumptions(code), mark)
        insertions[_start(code)] = mark + enter
        try:
            told = _enter if holder is None else _enter_on
            return _insert(code, insertions, (*constants, None, self._hits, number, told, _leave, _Link(self)))
        except ValueError:
            return None

    def _holder(self, code: CodeType, number: int) -> int | None:
        """The first argument, where it is all that may keep something and no variable of inner functions."""
        state = self._codes.stateful.get(number)
        holders = () if state is None else state.holders
        alone = len(holders) == 1 and holders == code.co_varnames[:1]
        return 0 if alone and holders[0] not in code.co_cellvars else None


class _Link:
    """A constant that leads from marked code to its tracer, and nowhere once the code was pickled."""

    __slots__ = ("tracer",)

    def __init__(self, tracer: MarkTracer | None = None) -> None:
        self.tracer = tracer

    def __reduce__(self) -> tuple[type[_Link], tuple[()]]:
        return _Link, ()


def _enter(link: _Link, number: int) -> None:
    """Called by watched code when it starts."""
    scopes = None if link.tracer is None else link.tracer.scopes
    if scopes is not None and not scopes.busy(number):
        scopes.enter(number, _getframe(1))


def _enter_on(link: _Link, number: int, holder: object) -> None:
    """The same, with the object that the code works on: the frame is asked for only where that is not enough."""
    scopes = None if link.tracer is None else link.tracer.scopes
    if scopes is not None and not scopes.knows(number, holder) and not scopes.busy(number):
        scopes.enter(number, _getframe(1))


def _leave(link: _Link, number: int) -> None:
    """Called by watched code just before it returns."""
    scopes = None if link.tracer is None else link.tracer.scopes
    if scopes is not None and not scopes.busy(number):
        scopes.leave(number)


def _start(code: CodeType) -> int:
    """Where the function's own code starts, in bytes: after the first RESUME."""
    return 2 * code.co_code[::2].index(_RESUME) + 2


def _resumptions(code: CodeType) -> list[int]:
    """Where a generator or coroutine goes on, in bytes: after each RESUME but the first."""
    if not code.co_flags & SUSPENDS:
        return []
    found = [at + 2 for at in range(0, len(code.co_code), 2) if code.co_code[at] == _RESUME]
    return found[1:]


def _mark(first: int) -> bytes:
    """``hits[number] = None``, with the three constants from ``first`` on."""
    return b"".join(map(_load, range(first, first + 3))) + _STORE


def _call(function: int, link: int, number: int, more: bytes = b"") -> bytes:
    """Call the constant ``function`` with two constants and forget the result; with the inline caches of CALL.

    ``more``: an instruction that loads a third argument.
    """
    loads = _load(function) + _load(link) + _load(number) + more
    count = 2 + len(more) // 2
    return bytes((_PUSH_NULL, 0)) + loads + bytes((_PRECALL, count, 0, 0, _CALL, count, *[0] * 8, _POP_TOP, 0))


def _insert(code: CodeType, insertions: Mapping[int, bytes], constants: tuple[object, ...]) -> CodeType:
    """The code with instructions put in before those at the given offsets (bytes), which take over as jump targets.

    Raises ValueError where a jump would need a longer argument, or a location entry would be torn.
    """
    moves = _Moves(insertions)
    out = bytearray()
    raw = _moved_jumps(code.co_code, moves)
    done = 0
    locations = code.co_linetable
    for at in sorted(insertions, reverse=True):
        locations = _insert_locations(locations, at // 2, len(insertions[at]) // 2)
    for at in sorted(insertions):
        out += raw[done:at] + insertions[at]
        done = at
    return code.replace(
        co_code=bytes(out + raw[done:]),
        co_consts=constants,
        co_linetable=locations,
        co_exceptiontable=_shift_exceptions(code.co_exceptiontable, moves),
        co_stacksize=code.co_stacksize + _STACK,
    )


class _Moves:
    """Where code units (of two bytes) go.

    What is inserted before a unit belongs to it, as a jump's target; but for the first insertion, which is to run
    once: a loop that starts with the function jumps behind it.
    """

    def __init__(self, insertions: Mapping[int, bytes]) -> None:
        self._starts = sorted(at // 2 for at in insertions)
        self._prologue = self._starts[0]
        self._sums = [0, *accumulate(len(insertions[2 * at]) // 2 for at in self._starts)]

    def target(self, unit: int) -> int:
        """The new place of what is executed when somebody jumps to ``unit``."""
        return self.itself(unit) if unit == self._prologue else unit + self._sums[bisect_left(self._starts, unit)]

    def itself(self, unit: int) -> int:
        """The new place of the instruction at ``unit``."""
        return unit + self._sums[bisect_right(self._starts, unit)]


def _moved_jumps(raw: bytes, moves: _Moves) -> bytes:
    out = bytearray(raw)
    for at in range(0, len(raw), 2):
        if raw[at] not in _JUMPS:
            continue
        argument, first = argument_at(raw, at)
        unit = at // 2
        after = unit + 1 + _CACHES[raw[at]]
        sign = -1 if raw[at] in _BACKWARD else 1
        moved = sign * (moves.target(after + sign * argument) - (moves.itself(unit) + after - unit))
        if moved < 0 or moved >> 4 * (at - first + 2):
            raise ValueError("a jump needs a longer argument")
        for place in range(at, first - 2, -2):
            out[place + 1] = moved & 0xFF
            moved >>= 8
    return bytes(out)


def _load(index: int) -> bytes:
    out = bytes((_LOAD_CONST, index & 0xFF))
    while index := index >> 8:
        out = bytes((_EXTENDED_ARG, index & 0xFF)) + out
    return out


def _insert_locations(table: bytes, at: int, units: int) -> bytes:
    """The location table with ``units`` code units before unit ``at``, on the line of what follows them.

    They need a line, because an exception may be raised there (a recursion too deep, an interrupt).

    An entry's first byte has its top bit set and holds its length in units, less one, in the low three bits.
    ``RESUME`` always ends an entry: it has a location of its own, without columns.
    """
    position = index = 0
    while position < at:
        position += (table[index] & 7) + 1
        index += 1
        while index < len(table) and not table[index] & 0x80:
            index += 1
    if position != at:
        raise ValueError("a location entry spans the function's start")
    line, rest = _split_line(table[index:])
    entries = [_LINE | min(units - done, 8) - 1 for done in range(0, units, 8)]
    inserted = b"".join(bytes((entry,)) + (line if not number else b"\0") for number, entry in enumerate(entries))
    return table[:index] + inserted + rest


def _split_line(table: bytes) -> tuple[bytes, bytes]:
    """The line difference of a table's first entry, as it is written, and the table with that difference gone."""
    kind = table[0] >> 3 & 15 if table else _NOWHERE
    if kind in _NEAR:
        return bytes(((kind - _NEAR[0]) << 1,)), bytes((table[0] & 0x87 | _NEAR[0] << 3,)) + table[1:]
    if kind not in (_WITHOUT_COLUMNS, _LONG):
        return b"\0", table
    end = next(at for at in range(1, len(table)) if not table[at] & 0x40) + 1
    return table[1:end], table[:1] + b"\0" + table[end:]


def _shift_exceptions(table: bytes, moves: _Moves) -> bytes:
    """The exception table with everything where it is now; a range grows by what is put into it."""
    out = bytearray()
    values = iter(list(_varints(table)))
    for start, length, target, depth in zip(values, values, values, values, strict=True):
        new = moves.target(start)
        out += _varint(new, first=True)
        out += _varint(moves.target(start + length) - new)
        out += _varint(moves.target(target))
        out += _varint(depth)
    return bytes(out)


def _varints(table: bytes) -> Iterator[int]:
    value = 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            yield value
            value = 0


def _varint(value: int, *, first: bool = False) -> bytes:
    """Six bits a byte, most significant first; bit 6: more follow; bit 7: an entry starts here."""
    parts = [value & 63]
    while value := value >> 6:
        parts.append(value & 63 | 64)
    parts.reverse()
    parts[0] |= 128 if first else 0
    return bytes(parts)
