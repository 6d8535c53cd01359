"""Instructions put into compiled functions of CPython 3.11 to 3.13, whose bytecode will not change any more.

All jumps of these versions are relative, so only jumps, the exception table and the location table need to know of an
insertion. ``FOR_ITER`` goes one or two instructions behind its target from 3.12 on, which are the ``END_FOR`` that
stands there (and its ``POP_TOP``): nothing is ever put between them. Formats: ``Objects/exception_handling_notes.txt``
and ``Objects/locations.md`` (3.13: ``InternalDocs``) in the sources of CPython.
"""

from __future__ import annotations

import opcode
import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from types import CodeType
from typing import Final, NamedTuple

from pytest_perfcache.trace.codes import SUSPENDS, argument_at
from pytest_perfcache.trace.containers import BACKWARD, CACHES, JUMPS, arguments_of

_RESUME: Final = opcode.opmap["RESUME"]
_LOAD_CONST: Final = opcode.opmap["LOAD_CONST"]
_LOAD_FAST: Final = opcode.opmap["LOAD_FAST"]
_LOAD_DEREF: Final = opcode.opmap["LOAD_DEREF"]
_STORE_SUBSCR: Final = opcode.opmap["STORE_SUBSCR"]
_EXTENDED_ARG: Final = opcode.opmap["EXTENDED_ARG"]
_PUSH_NULL: Final = opcode.opmap["PUSH_NULL"]
_PRECALL: Final = opcode.opmap.get("PRECALL")
_CALL: Final = opcode.opmap["CALL"]
_POP_TOP: Final = opcode.opmap["POP_TOP"]
_CONTAINS_OP: Final = opcode.opmap["CONTAINS_OP"]
_DELETE_SUBSCR: Final = opcode.opmap["DELETE_SUBSCR"]
_TO_BOOL: Final = opcode.opmap.get("TO_BOOL")
"""From 3.13 on jumps want a boolean value."""
_JUMP_IF, _JUMP_UNLESS = (
    opcode.opmap.get(f"POP_JUMP_IF_{found}", opcode.opmap.get(f"POP_JUMP_FORWARD_IF_{found}", 0))
    for found in ("TRUE", "FALSE")
)
_RETURNS: Final = frozenset(opcode.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in opcode.opmap)
_NULL_BEHIND: Final = sys.version_info >= (3, 13)
"""Whether the empty place belongs behind what is called."""
_ENTRY: Final = re.compile(rb"[\x80-\xff][\0-\x7f]*")
"""Of a location table. The first byte holds the kind, and in the low three bits the length in units, less one."""
_NEAR: Final = (10, 11, 12)
"""Kinds of location entries: columns in two bytes, the line's difference in the kind."""
_WITHOUT_COLUMNS: Final = 13
_LONG: Final = 14
_NOWHERE: Final = 15
_MOST: Final = 12
"""Variables that a call takes along."""


def start(code: CodeType) -> int:
    """Where the function's own code starts, in bytes: after the first RESUME."""
    return 2 * code.co_code[::2].index(_RESUME) + 2


def resumptions(code: CodeType) -> list[int]:
    """Where a generator or coroutine goes on, in bytes: after each RESUME but the first."""
    if not code.co_flags & SUSPENDS:
        return []
    return [2 * unit + 2 for unit, found in enumerate(code.co_code[::2]) if found == _RESUME][1:]


def returns(code: CodeType) -> list[int]:
    """Where the function returns, in bytes: before the return, with what extends its argument."""
    raw = code.co_code
    return [argument_at(raw, 2 * unit)[1] for unit, found in enumerate(raw[::2]) if found in _RETURNS]


def mark(first: int) -> bytes:
    """If the fourth of these constants holds something, take out what the fifth names, which is all of it, and assign
    an item: the first to the second one's item that the third one names.

    No other thread gets its turn meanwhile: that happens at calls, at jumps back and at the start of functions.
    """
    value, items, name, armed, place = map(load, range(first, first + 5))
    body = value + items + name + _instruction(_STORE_SUBSCR) + armed + place + _instruction(_DELETE_SUBSCR)
    test = b"" if _TO_BOOL is None else _instruction(_TO_BOOL)
    return armed + test + _instruction(_JUMP_UNLESS, len(body) // 2) + body


def load(constant: int) -> bytes:
    """Put a constant on the stack."""
    return _instruction(_LOAD_CONST, constant)


def call(function: bytes, arguments: Sequence[bytes]) -> bytes:
    """Call with what these pieces of code put on the stack, and leave the result there."""
    null = _instruction(_PUSH_NULL)
    callee = function + null if _NULL_BEHIND else null + function
    before = b"" if _PRECALL is None else _instruction(_PRECALL, len(arguments))
    return callee + b"".join(arguments) + before + _instruction(_CALL, len(arguments))


def only(member: bytes, among: bytes, called: bytes, *, within: bool) -> bytes:
    """Call, and forget the result, only if the one value is ``within`` the other, or only if it is not."""
    body = called + _instruction(_POP_TOP)
    jump = _instruction(_JUMP_UNLESS if within else _JUMP_IF, len(body) // 2)
    return member + among + _instruction(_CONTAINS_OP) + jump + body


def are_at_hand(code: CodeType, names: Sequence[str]) -> bool:
    """Whether :func:`load_variable` can load all of these for a call."""
    arguments = code.co_varnames[: arguments_of(code)]
    return len(names) <= _MOST and all(name in code.co_freevars or name in arguments for name in names)


def load_variable(code: CodeType, name: str) -> bytes:
    """Put an argument on the stack at the start of the function, or the cell of a variable of the function around.

    Arguments that inner functions use, too, are in cells by then. A variable of the function around has the name of a
    local one where a comprehension has it too.
    """
    names = code.co_varnames
    if name in code.co_freevars:
        cells = sum(cell not in names for cell in code.co_cellvars)
        return _instruction(_LOAD_FAST, len(names) + cells + code.co_freevars.index(name))
    return _instruction(_LOAD_DEREF if name in code.co_cellvars else _LOAD_FAST, names.index(name))


def insert(code: CodeType, insertions: Mapping[int, bytes], constants: tuple[object, ...], stack: int) -> CodeType:
    """The code with instructions put in before those at the given offsets (bytes), which take over as jump targets.

    But for the first insertion, which is to run once: a loop that starts with the function jumps behind it.
    ``stack``: how many values they put on the stack at most.
    """
    moves, jumps = _settled(code.co_code, insertions)
    out = moves.spread(code.co_code)
    for jump in jumps:
        for unit in range(jump.units):
            out[2 * (jump.at - unit) + 1] = jump.argument >> 8 * unit & 0xFF
    return code.replace(
        co_code=bytes(out),
        co_consts=constants,
        co_linetable=_insert_locations(code.co_linetable, moves.sizes),
        co_exceptiontable=_shift_exceptions(code.co_exceptiontable, moves),
        co_stacksize=code.co_stacksize + stack,
    )


class _Moves:
    """Where code units (of two bytes) go.

    What is inserted before a unit belongs to it, as a jump's target; but for the first insertion.
    ``wider``: jumps (where the first extension of their argument starts, bytes) → further extensions.
    """

    def __init__(self, insertions: Mapping[int, bytes], wider: Mapping[int, int]) -> None:
        self._insertions = insertions
        self.wider = wider
        places = sorted(insertions.keys() | wider)
        self.sizes = {at // 2: len(insertions.get(at, b"")) // 2 + wider.get(at, 0) for at in places}
        """Units inserted before each unit."""
        self._prologue = min(insertions) // 2
        self._behind_prologue = self._prologue + len(insertions[2 * self._prologue]) // 2
        self._starts = list(self.sizes)
        self._sums = [0, *accumulate(self.sizes.values())]

    def spread(self, raw: bytes) -> bytearray:
        """The bytecode with what is inserted, each instruction in its new place; jumps still say what they said."""
        out = bytearray()
        done = 0
        for unit in self._starts:
            out += raw[done : 2 * unit] + self._insertions.get(2 * unit, b"")
            out += bytes((_EXTENDED_ARG, 0)) * self.wider.get(2 * unit, 0)
            done = 2 * unit
        return out + raw[done:]

    def target(self, unit: int) -> int:
        """The new place of what is executed when somebody jumps to ``unit``."""
        return self._behind_prologue if unit == self._prologue else unit + self._sums[bisect_left(self._starts, unit)]

    def itself(self, unit: int) -> int:
        """The new place of the instruction at ``unit``."""
        return unit + self._sums[bisect_right(self._starts, unit)]


class _Jump(NamedTuple):
    """A jump in its new place ``at`` (units): what it says now, and in how many units it may say it."""

    at: int
    argument: int
    units: int
    first: int
    """Where the first extension of its argument was, in bytes."""


def _settled(raw: bytes, insertions: Mapping[int, bytes]) -> tuple[_Moves, list[_Jump]]:
    """Where everything goes once each jump has room for its argument, which may make others need more."""
    wider: dict[int, int] = {}
    if len(insertions) == 1:
        return _Moves(insertions, wider), []  # at the start, which all jumps are behind
    while True:
        moves = _Moves(insertions, wider)
        jumps = list(_jumps(raw, moves))
        short = [jump for jump in jumps if jump.argument >> 8 * jump.units]
        if not short:
            return moves, jumps
        for jump in short:
            wider[jump.first] = wider.get(jump.first, 0) + 1


def _jumps(raw: bytes, moves: _Moves) -> Iterator[_Jump]:
    for unit, found in enumerate(raw[::2]):
        if found in JUMPS:
            argument, first = argument_at(raw, 2 * unit)
            behind = 1 + CACHES.get(found, 0)
            sign = -1 if found in BACKWARD else 1
            at = moves.itself(unit)
            argument = sign * (moves.target(unit + behind + sign * argument) - at - behind)
            yield _Jump(at, argument, unit - first // 2 + 1 + moves.wider.get(first, 0), first)


def _instruction(code: int, argument: int = 0) -> bytes:
    """With the extensions of its argument before, and the empty inline cache behind it."""
    out = bytes((code, argument & 0xFF)) + bytes(2 * CACHES.get(code, 0))
    while argument := argument >> 8:
        out = bytes((_EXTENDED_ARG, argument & 0xFF)) + out
    return out


def _insert_locations(table: bytes, sizes: Mapping[int, int]) -> bytes:
    """The location table with code units before those units, on the line of what follows them.

    They need a line, because an exception may be raised there (a recursion too deep, an interrupt).
    """
    out: list[bytes] = []
    places = sorted(sizes, reverse=True)
    position = 0
    for found in _ENTRY.finditer(table):
        if not places:
            return b"".join((*out, table[found.start() :]))
        entry = found.group()
        units = (entry[0] & 7) + 1
        while places and places[-1] < position + units:
            at = places.pop()
            if at > position:
                out.append(_sized(entry, at - position))
                entry, units, position = _split_line(entry)[1], position + units - at, at
                entry = _sized(entry, units)
            line, entry = _split_line(entry)
            out += _entries(line, sizes[at])
        out.append(entry)
        position += units
    return b"".join(out)


def _entries(line: bytes, units: int) -> Iterator[bytes]:
    """Location entries without columns for so many units; nowhere if ``line`` is empty."""
    kind = _WITHOUT_COLUMNS if line else _NOWHERE
    for done in range(0, units, 8):
        yield _sized(bytes((0x80 | kind << 3,)), min(units - done, 8)) + line
        line = line and b"\0"


def _sized(entry: bytes, units: int) -> bytes:
    return bytes((entry[0] & 0xF8 | units - 1,)) + entry[1:]


def _split_line(entry: bytes) -> tuple[bytes, bytes]:
    """The line difference of an entry, as it is written, and the entry with that difference gone."""
    kind = entry[0] >> 3 & 15
    if kind == _NOWHERE:
        return b"", entry
    if kind in _NEAR:
        return bytes(((kind - _NEAR[0]) << 1,)), bytes((entry[0] & 0x87 | _NEAR[0] << 3,)) + entry[1:]
    if kind not in (_WITHOUT_COLUMNS, _LONG):
        return b"\0", entry
    end = next(at for at in range(1, len(entry)) if not entry[at] & 0x40) + 1
    return entry[1:end], entry[:1] + b"\0" + entry[end:]


def _shift_exceptions(table: bytes, moves: _Moves) -> bytes:
    """The exception table with everything where it is now; a range grows by what is put into it."""
    out = bytearray()
    values = iter(list(_varints(table)))
    for first, length, target, depth in zip(values, values, values, values, strict=True):
        new = moves.target(first)
        out += _varint(new, first=True)
        out += _varint(moves.target(first + length) - new)
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
