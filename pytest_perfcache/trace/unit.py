"""A unit of work under observation, and the trace that it leaves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_perfcache.trace.codes import Codes

_FEW: Final = 16
"""Numbers that are joined faster one by one."""
_ONE: Final = re.compile("1")
_DIGIT: Final = ord("1")


class Unit:
    """What one piece of work (an import, a collection, a fixture's set-up, a test) touched so far.

    ``blocks`` are numbers of functions that ran here, whose modules count as touched; ``modules`` are paths of
    further project modules; ``inputs`` are fact keys; ``fixtures`` are names of fixtures asked for while it ran;
    ``parts`` are other units that it stands on. Of child processes: ``ran_elsewhere`` are numbers of functions,
    ``elsewhere`` is a bit mask of the modules that they loaded, ``imports`` top-level names that they imported.
    ``untracked`` says in words why this work can not be tracked, and is empty while it can. ``is_test``: it is a test,
    and not the import, collection or set-up of something for others.
    """

    __slots__ = (
        "blocks",
        "elsewhere",
        "fixtures",
        "imports",
        "inputs",
        "is_test",
        "modules",
        "name",
        "parts",
        "ran_elsewhere",
        "summary",
        "untracked",
    )

    def __init__(self, name: str, blocks: Iterable[int] = (), parts: Iterable[Unit] = ()) -> None:
        self.name = name
        self.is_test = name.startswith("test ")
        self.blocks = set(blocks)
        self.modules: set[str] = set()
        self.inputs: set[str] = set()
        self.fixtures: set[str] = set()
        self.parts = dict.fromkeys(parts)
        self.ran_elsewhere: set[int] = set()
        self.elsewhere = 0
        self.imports: set[str] = set()
        self.untracked = ""
        self.summary = Summary(0, 0, 0)

    def stand_on(self, other: Unit) -> None:
        """Depend on all that another unit touches."""
        if other is not self:
            self.parts[other] = None

    @property
    def size(self) -> tuple[int, int, str]:
        """Differs once something was added: nothing is ever taken out."""
        small = len(self.modules) + len(self.inputs) + len(self.fixtures) + len(self.parts) + len(self.imports)
        return len(self.blocks) + len(self.ran_elsewhere) + small, self.elsewhere, self.untracked

    @property
    def is_empty(self) -> bool:
        """Whether it touched nothing so far."""
        here = self.blocks or self.modules or self.inputs or self.fixtures or self.parts
        elsewhere = self.ran_elsewhere or self.elsewhere or self.imports
        return not (here or elsewhere or self.untracked)

    def take_in(self, other: Unit) -> None:
        """Touch all that another unit touched."""
        self.blocks |= other.blocks
        self.modules |= other.modules
        self.inputs |= other.inputs
        self.fixtures |= other.fixtures
        self.parts |= other.parts
        self.ran_elsewhere |= other.ran_elsewhere
        self.elsewhere |= other.elsewhere
        self.imports |= other.imports
        self.spoil(other.untracked)

    def spoil(self, why: str) -> None:
        """Note the first reason why nothing may be concluded from this unit."""
        self.untracked = self.untracked or why

    def summed_up(self, codes: Codes) -> Summary:
        """What it touched so far; made anew where that has grown, for nothing is ever taken out."""
        size = len(self.blocks) + len(self.ran_elsewhere) + len(self.modules)
        if size != self.summary.size:
            here, files = mask_of(self.blocks), set(map(codes.files.__getitem__, self.blocks))
            files.update(map(codes.file, self.modules))
            self.summary = Summary(size, here | mask_of(self.ran_elsewhere), mask_of(files))
        return self.summary


class Summary(NamedTuple):
    """Bit masks: of the functions that ran in a unit, here or in child processes, and of the modules touched here."""

    size: int
    """How much it held then."""
    blocks: int
    files: int


class Touched(NamedTuple):
    """All that a test depends on, in the numbers of this process."""

    modules: int
    ran: Sequence[int]
    """Functions that ran on its behalf."""
    at_import: frozenset[int]
    """Functions that ran while its modules were imported; many tests share this set."""
    inputs: frozenset[str]
    untracked: str
    imports: frozenset[str] = frozenset()
    """Top-level names that child processes imported."""
    located: frozenset[str] = frozenset()
    """Modules of which a line is told."""

    @property
    def blocks(self) -> frozenset[int]:
        """All functions that ran."""
        return self.at_import.union(self.ran)

    @property
    def shared(self) -> tuple[int, frozenset[int]]:
        """What the modules brought along, which is the same for many tests."""
        return self.modules, self.at_import


def mask_of(numbers: Iterable[int]) -> int:
    """A bit mask with these bits set."""
    found = list(numbers)
    mask = 0
    if len(found) < _FEW:
        for number in found:
            mask |= 1 << number
        return mask
    digits = bytearray(b"0") * (max(found) + 1)
    for number in found:
        digits[number] = _DIGIT
    digits.reverse()
    return int(digits, 2)


def numbers_in(mask: int) -> list[int]:
    """The set bits of a mask, ascending."""
    return [one.start() for one in _ONE.finditer(bin(mask)[:1:-1])]


def whole(units: Iterable[Unit]) -> list[Unit]:
    """The units with all their parts, each once."""
    found: dict[Unit, None] = {}
    waiting = list(units)
    while waiting:
        unit = waiting.pop()
        if unit not in found:
            found[unit] = None
            waiting += unit.parts
    return list(found)


def blocks_of(units: Iterable[Unit], codes: Codes) -> int:
    """Bit mask of the functions that ran in any of these units, here or in child processes."""
    found = 0
    for unit in units:
        found |= unit.summed_up(codes).blocks
    return found
