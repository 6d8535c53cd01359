"""Objects without weak references, such as lists: told by their places and by what they held."""

from __future__ import annotations

from typing import Final

from pytest_perfcache.trace.versions import PLAIN, contents, marks

_identity: Final = object.__hash__  # `id` is an audit event
_MUCH: Final = 200
"""Elements of an object that is told by its place alone, to spare the time."""


class Unreferable:
    """Those that scopes met."""

    def __init__(self) -> None:
        self.present: list[tuple[int, str, object]] = []
        """Depth of the scope, name of the unit, and object, held for as long as the scope is open that met it: nobody
        may notice that it lives on."""
        self._held: dict[int, tuple[str, frozenset[object] | None]] = {}
        """By identity: the unit that met the object last, and what it held then, None where that was much."""

    def meet(self, instance: object, unit: str, depth: int) -> bool:
        """Whether an earlier unit met it: one was in this place, and held some of the same.

        A container that is empty keeps nothing; of an object that cannot be looked into, its place must do.
        """
        self.present.append((depth, unit, instance))
        known = self._held.get(_identity(instance))
        if known is None or known[0] == unit:
            return False
        held = frozenset(marks(contents(instance)))
        return known[1] is None or bool(held & known[1]) or not (held or type(instance) in PLAIN)

    def let_go(self, depth: int) -> None:
        """The scopes from this depth on are closed."""
        while self.present and self.present[-1][0] >= depth:
            _, name, instance = self.present.pop()
            held = contents(instance)
            self._held[_identity(instance)] = name, frozenset(marks(held)) if len(held) <= _MUCH else None
