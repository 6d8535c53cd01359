"""What is kept under names by which others find it: a global, an attribute, a lazy property."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING

from pytest_perfcache.trace.codes import bodies
from pytest_perfcache.trace.keeper import Keeper
from pytest_perfcache.trace.unit import Unit, mask_of, numbers_in

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType

    from pytest_perfcache.trace.codes import Codes


class Named:
    """The keepers of which there is evidence that they keep something under a name, and imports that left something."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._keepers: list[Keeper] = []
        self._left: dict[str, dict[Unit, None]] = defaultdict(dict)
        """Names → the imports that left something under them."""
        self._used_by: dict[int, dict[Unit, None]] = {}
        """Functions that use such names → these imports."""
        self._users = 0
        """Bit mask of these functions."""
        self._known = (0, 0)
        """How many names were given to imports, and how often code was read, when this was looked at."""

    def add(self, keeper: Keeper) -> None:
        """To be called once, with the first of its names."""
        self._keepers.append(keeper)

    def use(self, unit: Unit, blocks: int) -> None:
        """Let the unit stand on what is named by functions that ran in it. ``blocks``: their bit mask."""
        if not blocks:
            return
        for keeper in self._keepers:
            if blocks & self._readers_of(keeper):
                keeper.lend(unit)
        if unit.is_test:  # what others need of an import they stand on anyway, see `Keeper.lend`
            for number in numbers_in(blocks & self._users_of_imports()):
                unit.parts |= self._used_by[number]

    def imported(self, unit: Unit, code: CodeType, changed: frozenset[str]) -> None:
        """The import of a module ended that changes what others hold under these names, or uses what others changed."""
        names = {name for body in bodies(code) for name in body.co_names} if self._keepers else set()
        for keeper in self._keepers:
            if not keeper.named.isdisjoint(names):
                keeper.lend(unit)
        if changed:
            self._name(unit, changed)

    def bound(self, module: str, unit: Unit) -> None:
        """A submodule was imported while something ran: its package has it as an attribute from now on."""
        self._name(unit, {module.rpartition(".")[2]})

    def _name(self, unit: Unit, names: Iterable[str]) -> None:
        """Whoever names one of these stands on ``unit``."""
        for name in names:
            self._left[name][unit] = None

    def _users_of_imports(self) -> int:
        known = sum(map(len, self._left.values())), self._codes.read
        if known != self._known:
            used_by: dict[int, dict[Unit, None]] = defaultdict(dict)
            for name, units in self._left.items():
                for number in self._codes.mentions.get(name, ()):
                    used_by[number] |= units
            self._known, self._used_by, self._users = known, used_by, mask_of(used_by)
        return self._users

    def _readers_of(self, keeper: Keeper) -> int:
        """Bit mask of the functions that name what the keeper keeps."""
        state = (len(keeper.named), self._codes.read)
        if keeper.readers[0] != state:
            mentions = self._codes.mentions
            keeper.readers = state, mask_of(chain.from_iterable(mentions.get(name, ()) for name in keeper.named))
        return keeper.readers[1]
