"""The scopes that are open now, and what ran in each of them.

What runs belongs to all open scopes and to the unit at work. It is noted with the innermost scope alone, and given to
those around when that one closes, or when another unit begins: scopes nest deeply in a recursion, and are entered much
more often than anybody asks what ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_perfcache.trace.keeper import Keeper
    from pytest_perfcache.trace.unit import Unit


class OpenScopes:
    """``keepers``: those whose scopes are open, innermost last; one may be there more than once.

    ``awaited`` holds their numbers, while it is worth while to be told of their returns.
    """

    __slots__ = ("_awaited", "_ran", "keepers")

    def __init__(self, awaited: set[int]) -> None:
        self._awaited = awaited
        self.keepers: list[Keeper] = []
        self._ran: list[set[int] | None] = []
        """Functions that ran in the scope in the same place, and that nobody was told of; None where there are none."""

    def open(self, keeper: Keeper, *, awaited: bool = True) -> None:
        """``awaited``: whether its return will close the scope."""
        self.keepers.append(keeper)
        self._ran.append(None)
        keeper.depth += 1
        if awaited:
            self._awaited.add(keeper.number)
        else:
            self._awaited.discard(keeper.number)

    def note(self, numbers: Iterable[int], unit: Unit) -> None:
        """These functions ran, while ``unit`` was at work."""
        if not self._ran:
            unit.blocks.update(numbers)
        elif (ran := self._ran[-1]) is None:
            self._ran[-1] = set(numbers)
        else:
            ran.update(numbers)

    def close(self, keeper: Keeper, unit: Unit) -> None:
        """Close the innermost scope of this keeper, and those that were left open in it by exceptions."""
        while self.keepers:
            last, ran = self.keepers.pop(), self._ran.pop()
            last.depth -= 1
            if not last.depth:
                self._awaited.discard(last.number)
            if ran is not None:
                last.unit.blocks |= ran
                self.note(ran, unit)
            if last is keeper:
                return

    def share(self, unit: Unit) -> None:
        """Another unit begins or ends: what ran until now belongs to this one."""
        if not self._ran:
            return
        ran: set[int] = set()
        for keeper, own in zip(reversed(self.keepers), reversed(self._ran), strict=True):
            ran |= own or set()
            keeper.unit.blocks |= ran
        self._ran = [None] * len(self._ran)
        unit.blocks |= ran

    def clear(self) -> None:
        """Nothing is open any more; what ran was shared before."""
        for keeper in self.keepers:
            keeper.depth = 0
        self.keepers.clear()
        self._ran.clear()
        self._awaited.clear()
