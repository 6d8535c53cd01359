"""Calls by a mark at the top of each function, for interpreters without ``sys.monitoring`` (3.11).

The mark is four instructions, ``hits[number] = None``, put into the bytecode after it was compiled or loaded and
before it is executed: about 20 ns a call, against 80 to 120 % for a trace function. It sees every thread, leaves the
slots of coverage, debuggers and profilers alone, and survives code that turns tracing off. The mark has no line, so
line tracers do not see it; what is written to ``__pycache__`` stays unmarked.

Only for 3.11, whose bytecode will not change any more: its jumps are all relative, so that only the exception table
and the location table need to know of the insertion. Formats: ``Objects/exception_handling_notes.txt`` and
``Objects/locations.md`` in the sources of CPython 3.11.
"""

from __future__ import annotations

import opcode
from collections.abc import Iterator
from types import CodeType
from typing import Final

from pytest_perfcache.trace.codes import Codes, is_function

_RESUME: Final = opcode.opmap["RESUME"]
_LOAD_CONST: Final = opcode.opmap["LOAD_CONST"]
_STORE_SUBSCR: Final = opcode.opmap["STORE_SUBSCR"]
_EXTENDED_ARG: Final = opcode.opmap["EXTENDED_ARG"]
_STORE: Final = bytes((_STORE_SUBSCR, 0, 0, 0))
"""With its one inline cache entry."""
_NO_LOCATION: Final = 0x80 | 15 << 3
_STACK: Final = 3


class _Hits(dict[int, None]):
    """A constant of marked code objects, so it has to be what constants are: hashable, and possible to pickle.

    A pickled function (cloudpickle takes its code along) marks into the void.
    """

    __slots__ = ()
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[_Hits], tuple[()]]:
        return _Hits, ()


class MarkTracer:
    """All marked code shares one dictionary, whose keys are the numbers of the functions entered."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._hits = _Hits()

    def instrument(self, code: CodeType, path: str) -> CodeType:
        constants = tuple(
            self.instrument(constant, path) if isinstance(constant, CodeType) else constant
            for constant in code.co_consts
        )
        if not is_function(code):
            return code.replace(co_consts=constants)
        return self._marked(code, constants, self._codes.number(path, code))

    def take(self) -> list[int]:
        hit = list(self._hits)
        for number in hit:
            self._hits.pop(number, None)
        return hit

    def intact(self) -> bool:
        return True

    def close(self) -> None:
        self._hits.clear()

    def _marked(self, code: CodeType, constants: tuple[object, ...], number: int) -> CodeType:
        raw = code.co_code
        at = 2 * raw[::2].index(_RESUME) + 2
        first = len(constants)
        mark = b"".join(_load(first + offset) for offset in range(3)) + _STORE
        units = len(mark) // 2
        return code.replace(
            co_code=raw[:at] + mark + raw[at:],
            co_consts=(*constants, None, self._hits, number),
            co_linetable=_insert_locations(code.co_linetable, at // 2, units),
            co_exceptiontable=_shift_exceptions(code.co_exceptiontable, at // 2, units),
            co_stacksize=max(code.co_stacksize, _STACK),
        )


def _load(index: int) -> bytes:
    out = bytes((_LOAD_CONST, index & 0xFF))
    while index := index >> 8:
        out = bytes((_EXTENDED_ARG, index & 0xFF)) + out
    return out


def _insert_locations(table: bytes, at: int, units: int) -> bytes:
    """The location table with ``units`` code units that have no location before unit ``at``.

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
    inserted = bytes(_NO_LOCATION | min(units - done, 8) - 1 for done in range(0, units, 8))
    return table[:index] + inserted + table[index:]


def _shift_exceptions(table: bytes, at: int, units: int) -> bytes:
    """The exception table with everything from unit ``at`` on moved back by ``units``."""
    out = bytearray()
    values = iter(list(_varints(table)))
    for start, length, target, depth in zip(values, values, values, values, strict=True):
        inside = start < at < start + length
        out += _varint(start + units if start >= at else start, first=True)
        out += _varint(length + units if inside else length)
        out += _varint(target + units if target >= at else target)
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
