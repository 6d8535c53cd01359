"""What is known of one function that may keep something for later calls."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from pytest_perfcache.trace.looking import attributes, is_referable
from pytest_perfcache.trace.stateful import ON_DEMAND, Stateful
from pytest_perfcache.trace.unit import Unit
from pytest_perfcache.trace.versions import find, same, version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_perfcache.trace.helped import Path
    from pytest_perfcache.trace.versions import Version

_PATIENCE: Final = 20
"""Units after which a function that was never found to keep anything for a later one loses its scope."""
_LONGEST_PATIENCE: Final = 640
"""The same for a function that was found to do so time and again."""


class Keeper:
    """One function that may keep something.

    ``unit``: what ran in its scopes; ``copy``: that as it was; ``givers``: the imports and set-ups that entered it;
    ``named``: names under which others find what it keeps, empty until there is evidence that something is kept;
    ``computed``: weak references to objects whose ``cached_property`` it computed in the current unit;
    ``attributes``: names of what it changes of classes while these are made;
    ``filled``: objects that it may have filled since something was not there, with their attributes then;
    ``first``: values of outer variables when it first ran, where they are such that many are alike;
    ``defaults``: default values of its arguments that can be changed, with their state when a unit first came by;
    ``units``: how many entered it since it was last found to keep something for a later one; ``patience``: after how
    many of them it loses its scope; ``loose``: it has none now; ``was_loose``: it had none for a while;
    ``unseen``: units that entered it without one, and may have changed its globals; ``exact``: it always has one;
    ``on_demand``: it is called since something is not there, and stores it; ``depth``: how many of its scopes are
    open; ``told``: the variables that are to be known when it starts; ``own``: of a property, the argument that the
    value belongs to; ``keys``: arguments by which it looks up loaded modules; ``tested``: what it tests of arguments
    that others fill; ``noted``: which of the variables that are told have their objects noted with the units that meet
    them, by place and name, and whether always or only since it had no scope; ``paths``: attributes that are tested,
    by the place of the variable.
    """

    __slots__ = (
        "activations",
        "attributes",
        "cache",
        "computed",
        "copy",
        "defaults",
        "depth",
        "exact",
        "filled",
        "first",
        "givers",
        "globals",
        "heads",
        "hits",
        "holders",
        "keys",
        "loose",
        "name",
        "named",
        "namespace",
        "noted",
        "number",
        "on_demand",
        "own",
        "paths",
        "patience",
        "readers",
        "tested",
        "told",
        "unit",
        "units",
        "unseen",
        "versions",
        "was_loose",
    )

    def __init__(self, number: int, name: str, unit: Unit, state: Stateful) -> None:
        self.number = number
        self.name = name
        self.unit = unit
        self.givers: Unit | None = None
        self.copy: Unit | None = None
        self.globals, self.holders, self.attributes = state[:3]
        self.keys = state.keys
        self.tested, self.heads = state.tested, state.heads
        self.cache: weakref.ref[Any] | None = None
        self.hits = 0
        self.named: set[str] = set()
        self.activations = 0
        self.versions: dict[str, Version] = {}
        self.namespace: dict[str, Any] | None = None
        self.computed: list[Callable[[], object]] = []
        self.filled: list[tuple[Callable[[], object], set[str], dict[str, Any]]] = []
        self.own = ""
        self.on_demand = name in ON_DEMAND and bool(self.holders)
        self.told = state.told
        self.depth = 0
        self.first: dict[str, object] = {}
        self.defaults: list[tuple[object, Version | None]] = []
        self.readers: tuple[tuple[int, int], int] = ((0, 0), 0)
        self.units = 0
        self.patience = _PATIENCE
        self.exact = (
            not (self.holders or self.tested or self.globals) or bool(self.attributes or self.keys) or self.on_demand
        )
        self.loose = self.was_loose = False
        self.unseen: list[Unit] = []
        self.arrange()

    def arrange(self) -> None:
        """Find the places of what matters among the values that are told when it starts."""
        place = {name: at for at, name in enumerate(self.told)}
        names = (self.own,) if self.own else self.heads if self.was_loose else self.holders
        self.noted = tuple((place[name], name, bool(self.own) or name in self.holders) for name in names)
        paths: dict[int, list[Path]] = {}
        for tested in self.tested:
            name, *path = tested.split(".")
            paths.setdefault(place[name], []).append(tuple(path))
        self.paths = tuple((at, tuple(found)) for at, found in paths.items())

    def belongs_to(self, own: str) -> None:
        """It computes a property of its argument ``own``."""
        self.own = own
        self.told = tuple(dict.fromkeys((*self.told, own)))
        self.arrange()

    def loosen(self) -> None:
        """It has no scope from now on."""
        self.loose = self.was_loose = True
        self.arrange()

    def lend(self, unit: Unit) -> None:
        """The unit met what is kept.

        A test stands on the imports and set-ups that it came from, too. An import or a set-up does not: what it
        imports, or asks for, it stands on anyway, and what is there by chance it does not need. Nor does it stand on
        what is added later, by tests for instance.
        """
        if not unit.is_test:
            unit.stand_on(self._until_now())
            return
        unit.stand_on(self.unit)
        if self.givers is not None:
            unit.stand_on(self.givers)

    def given_by(self, unit: Unit) -> None:
        """An import or a set-up entered it, and may have given it something."""
        if self.givers is None:
            self.givers = Unit(f"what gave {self.name} what it keeps")
        self.givers.stand_on(unit)

    def _until_now(self) -> Unit:
        """A copy of its unit, the same one while nothing was added."""
        if self.copy is None or self.copy.size != self.unit.size:
            self.copy = Unit(self.unit.name)
            self.copy.take_in(self.unit)
        return self.copy

    def note_namespace(self, namespace: dict[str, Any], values: Sequence[object]) -> None:
        """It starts with these globals, and with these values of its variables."""
        if self.globals and self.namespace is None:
            self.note_globals(namespace)
        if self.on_demand:
            for at, _, _ in self.noted:
                self.note_filled(values[at], namespace)

    def note_globals(self, namespace: dict[str, Any]) -> None:
        """It runs with these globals, the first time in this unit."""
        self.namespace = namespace
        for name in self.globals:
            if name not in self.versions and name.rpartition(".")[2] not in self.named:
                self.versions[name] = version(find(namespace, name))

    def changed_globals(self) -> set[str]:
        """The last parts of the names of those that changed since they were noted, which are noted no more."""
        namespace = self.namespace or {}
        now = {name: version(find(namespace, name)) for name in self.versions}
        changed = {name for name, found in now.items() if not same(found, self.versions[name])}
        self.versions = {name: found for name, found in now.items() if name not in changed}
        return {name.rpartition(".")[2] for name in changed}

    def note_filled(self, instance: object, namespace: dict[str, Any]) -> None:
        """It runs on this object because something is not there; ``namespace``: that of its module."""
        if is_referable(instance):  # what is not has, as a rule, no attributes either
            self.filled.append((weakref.ref(instance), set(attributes(instance)), namespace))

    def found(self) -> None:
        """It was found to keep something for a later unit: it has a scope for twice as many units as before.

        However often that is found within one unit.
        """
        if self.units:
            self.patience = min(2 * self.patience, _LONGEST_PATIENCE)
        self.units = 0

    def failure(self, error: Exception) -> str:
        """Why a unit in which it could not be observed is not tracked."""
        return f"observing what {self.name} keeps failed: {error!r}"
