"""What one test computed and another may use without computing it: memoised values, lazy attributes, filled globals.

Each function that may keep something (:mod:`~pytest_perfcache.trace.stateful`, and what ``functools.lru_cache`` and
``functools.cached_property`` wrap) has a *scope*: everything that runs between its start and its return is added to
one unit of its own, over all tests of the process. A test stands on that unit when there is evidence that it met
what was kept:

* ``lru_cache``: the cache counted hits while the test ran;
* a lazy attribute: the function ran on an object that an earlier unit had met;
* a global: it was seen to change, and the test ran code that names it;
* ``cached_property``: a value was computed on an object that outlived its test, and the test ran code that names it.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from contextvars import ContextVar
from itertools import islice
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pytest_perfcache.facts.surroundings import VOLATILE_VARIABLES
from pytest_perfcache.trace.effects import bodies
from pytest_perfcache.trace.looking import attributes
from pytest_perfcache.trace.stateful import ON_DEMAND, Stateful
from pytest_perfcache.trace.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Set
    from types import CodeType, FrameType

    from pytest_perfcache.trace.codes import Codes

_ACTIVATIONS: Final = 500
"""Of one function within one unit; after that its scope stays open to the unit's end, which only adds to it."""
_SCALARS: Final = frozenset((int, float, complex, bool, str, bytes, type(None), object))
"""Nothing can be kept in a value of just these types, nor in a tuple of them."""
_FIXED: Final = (BuiltinFunctionType, str, bytes, int, float, complex, tuple, frozenset)
_SMALL: Final = (str, bytes, int, float, complex, bool, type(None))
_PLACEHOLDERS: Final = (*_SMALL, type, FunctionType)
_identity: Final = object.__hash__
"""Tells objects apart as ``id`` does, which is an audit event and so many times slower."""
_SMALL_KINDS: Final = frozenset(map(_identity, _SMALL))
"""Types by identity: a metaclass may give them a hash of its own."""
_PLAIN: Final = (dict, list, set)
_LOOKED_INTO: Final = 100
"""Containers in a container that are looked into."""
_LOOKED_AT: Final = 1000
"""Elements of a container that are compared one by one."""
_Version: TypeAlias = tuple[object, int, int]


class Keeper:
    """One function that may keep something.

    ``named``: names under which others find what it keeps, empty until there is evidence that something is kept;
    ``computed``: weak references to objects whose ``cached_property`` it computed in the current unit;
    ``attributes``: names of what it changes of classes while these are made;
    ``filled``: objects that it may have filled since something was not there, with their attributes then;
    ``first``: values of outer variables when it first ran, where they are such that many are alike;
    ``defaults``: default values of its arguments that can be changed, with their state when a unit first came by.
    """

    __slots__ = (
        "activations",
        "attributes",
        "cache",
        "computed",
        "defaults",
        "filled",
        "first",
        "globals",
        "hits",
        "holders",
        "is_property",
        "name",
        "named",
        "namespace",
        "number",
        "unit",
        "versions",
    )

    def __init__(self, number: int, name: str, unit: Unit, state: Stateful) -> None:
        self.number = number
        self.name = name
        self.unit = unit
        self.globals, self.holders, self.attributes, _ = state
        self.cache: weakref.ref[Any] | None = None
        self.hits = 0
        self.named: set[str] = set()
        self.activations = 0
        self.versions: dict[str, _Version] = {}
        self.namespace: dict[str, Any] | None = None
        self.computed: list[Callable[[], object]] = []
        self.filled: list[tuple[Callable[[], object], set[str], dict[str, Any]]] = []
        self.is_property = False
        self.first: dict[str, object] = {}
        self.defaults: list[tuple[object, _Version | None]] = []


class Kept:
    """Keepers by function number, and the scopes that are open now. Used by the session's thread only."""

    def __init__(self, codes: Codes, gather: Callable[[], None], current: Callable[[], Unit | None]) -> None:
        """``gather`` gives what ran so far to the units at work."""
        self._codes = codes
        self._gather = gather
        self._current = current
        self.keepers: dict[int, Keeper] = {}
        self.open: list[Keeper] = []
        self._met: dict[int, tuple[Callable[[], object], str]] = {}
        self._numbers: dict[int, tuple[str, frozenset[object]]] = {}
        self._present: dict[int, object] = {}
        """Objects without weak references that the current unit met, by ``id``."""
        self._active: list[Keeper] = []
        self._stepping: dict[int, Keeper] = {}
        self._caches: list[Keeper] = []
        self._entered: list[Keeper] = []
        """Those that were entered in the current unit."""

    def add_cache(self, number: int, cache: object) -> None:
        """A ``functools.lru_cache`` was put around the function."""
        keeper = self._keeper(number)
        if keeper.cache is None:
            self._caches.append(keeper)
        keeper.cache = weakref.ref(cache)

    def add_property(self, number: int) -> None:
        """A ``functools.cached_property`` was put around the function."""
        self._keeper(number).is_property = True

    def add_defaults(self, number: int, defaults: Iterable[object]) -> None:
        """The function has default values that can be changed."""
        self._keeper(number).defaults = [(value, None) for value in defaults]

    def add_global(self, number: int, name: str) -> None:
        """What the function returns is kept in a global of its module."""
        keeper = self._keeper(number)
        keeper.globals = (*keeper.globals, name)

    def loaded(self, path: str, namespace: dict[str, Any]) -> None:
        """A module was imported: its generators that change globals are known from now on."""
        for number, names in self._codes.steps.items():
            if self._codes.names[number][0] == path:
                keeper = self._stepping[number] = self._keeper(number)
                keeper.namespace, keeper.globals = namespace, names
                keeper.versions = {name: _version(_find(namespace, name)) for name in names}

    def enter(self, number: int, frame: FrameType | None) -> None:
        """The function starts; ``frame`` is its own."""
        self._gather()
        unit = self._current()
        keeper = self.keepers.get(number) or self._keeper(number)
        if not keeper.activations:
            self._entered.append(keeper)
        keeper.activations += 1
        if frame is None or unit is None:
            return
        if (keeper.globals or keeper.attributes) and unit is not keeper.unit and not unit.name.startswith("test "):
            self._stand_on(keeper.unit, unit)
        try:
            self._look(keeper, frame, unit)
        except Exception as error:
            unit.spoil(f"observing what {keeper.name} keeps failed: {error!r}")
        self.open.append(keeper)

    def leave(self, number: int) -> None:
        """The function returns."""
        keeper = self.keepers.get(number)
        if keeper is not None and keeper.activations < _ACTIVATIONS and keeper in self.open:
            self._gather()
            while self.open.pop() is not keeper:
                pass

    def busy(self, number: int) -> bool:
        """Whether the function was entered so often that it need not be watched until the unit ends."""
        keeper = self.keepers.get(number)
        return keeper is not None and keeper.activations >= _ACTIVATIONS

    def settle(self, unit: Unit, blocks: Set[int]) -> None:
        """The outermost unit ends: let it stand on what it met, and look at what it left behind."""
        self.open.clear()
        for keeper in self._active:
            if any(not blocks.isdisjoint(self._codes.mentions.get(name, ())) for name in keeper.named):
                unit.parts.append(keeper.unit)
        for number, keeper in self._stepping.items():
            if number in blocks:
                self._stand_on(keeper.unit, unit)
                self._compare_globals(keeper)
        for keeper in self._caches:
            self._count_hits(keeper, unit)
        for keeper in self._entered:
            self._leave_behind(keeper)
        self._entered.clear()
        for number, instance in self._present.items():
            self._numbers[number] = unit.name, frozenset(_marks(_contents(instance)))
        self._present.clear()

    def _keeper(self, number: int) -> Keeper:
        found = self.keepers.get(number)
        if found is None:
            qualname = self._codes.names[number][1]
            state = self._codes.stateful.get(number, Stateful())
            unit = Unit(f"what {qualname} keeps", blocks={number})
            found = self.keepers[number] = Keeper(number, qualname.rpartition(".")[2], unit, state)
        return found

    def _look(self, keeper: Keeper, frame: FrameType, unit: Unit) -> None:
        if keeper.defaults and keeper.activations == 1:
            keeper.defaults = [(value, _version(value)) for value, _ in keeper.defaults]
        if keeper.globals and keeper.namespace is None:
            keeper.namespace = frame.f_globals
            for name in keeper.globals:
                keeper.versions.setdefault(name, _version(_find(frame.f_globals, name)))
        if not (keeper.is_property or keeper.holders):
            return
        code = frame.f_code
        holders = code.co_varnames[:1] if keeper.is_property else keeper.holders
        found = frame.f_locals  # made anew at each look
        for holder in holders:
            value = found.get(holder)
            if holder in code.co_freevars and issubclass(type(value), _PLACEHOLDERS):
                self._compare(keeper, holder, value, unit)
            else:
                self._meet(keeper, value, unit)
            if code.co_name in ON_DEMAND:
                self._fill(keeper, value, frame.f_globals)

    @staticmethod
    def _fill(keeper: Keeper, instance: object, namespace: dict[str, Any]) -> None:
        try:
            keeper.filled.append((weakref.ref(instance), set(attributes(instance)), namespace))
        except TypeError:
            return  # has neither weak references nor, as a rule, attributes

    def _meet(self, keeper: Keeper, instance: object, unit: Unit) -> None:
        """Note the object that the function works on; stand on what is kept if an earlier unit met it."""
        if _is_scalar(instance):
            return
        number = _identity(instance)
        known = self._met.get(number)
        if known is None or known[0]() is not instance:
            try:
                known = weakref.ref(instance), unit.name
            except TypeError:
                self._meet_by_number(keeper, instance, unit)
                return
            self._met[number] = known
        elif known[1] != unit.name and not (type(instance) is FunctionType and not instance.__dict__):
            self._stand_on(unit, keeper.unit)
        if keeper.is_property:
            keeper.computed.append(known[0])

    def _compare(self, keeper: Keeper, holder: str, value: object, unit: Unit) -> None:
        """A variable of the function around: kept from before where it is not what it started with."""
        first = keeper.first.setdefault(holder, value)
        if value is not first and (type(value) is not type(first) or value != first):
            self._stand_on(unit, keeper.unit)

    def _meet_by_number(self, keeper: Keeper, instance: object, unit: Unit) -> None:
        """For objects without weak references: met before, where one was in this place and held some of the same.

        A container that is empty keeps nothing; of an object that cannot be looked into, its place must do.
        """
        number = _identity(instance)
        self._present[number] = instance
        known = self._numbers.get(number)
        if known is None or known[0] == unit.name:
            return
        held = frozenset(_marks(_contents(instance)))
        if held & known[1] or not (held or type(instance) in _PLAIN):
            self._stand_on(unit, keeper.unit)

    def imported(self, unit: Unit, code: CodeType, changed: frozenset[str]) -> None:
        """The import of a module ended that changes what others hold under these names, or uses what others changed."""
        names = {name for body in bodies(code) for name in body.co_names} if self._active else set()
        for keeper in self._active:
            if keeper.unit is not unit and not keeper.named.isdisjoint(names):
                self._stand_on(unit, keeper.unit)
        if changed:
            self._name(unit, changed)

    def bound(self, module: str, unit: Unit) -> None:
        """A submodule was imported while something ran: its package has it as an attribute from now on."""
        self._name(unit, {module.rpartition(".")[2]})

    def _name(self, unit: Unit, names: Iterable[str]) -> None:
        """Whoever names one of these stands on ``unit``."""
        keeper = Keeper(-1, unit.name, unit, Stateful())
        keeper.named.update(names)
        self._active.append(keeper)

    @staticmethod
    def _stand_on(unit: Unit, part: Unit) -> None:
        if part not in unit.parts:
            unit.parts.append(part)

    def _count_hits(self, keeper: Keeper, unit: Unit) -> None:
        cache = keeper.cache() if keeper.cache is not None else None
        hits = cache.cache_info().hits if cache is not None else 0
        if hits != keeper.hits:
            keeper.hits = hits
            self._stand_on(unit, keeper.unit)

    def _leave_behind(self, keeper: Keeper) -> None:
        """Find out whether the unit that ends left something that a later one can find by name."""
        keeper.activations = 0
        if keeper.attributes:
            self._activate(keeper, set(keeper.attributes))
        if any(before is not None and not _same(before, _version(value)) for value, before in keeper.defaults):
            self._activate(keeper, {keeper.name})
        if keeper.namespace is not None:
            self._compare_globals(keeper)
            keeper.namespace = None
        for reference, before, namespace in keeper.filled:
            instance = reference()
            if instance is not None:
                names = {name for name, value in namespace.items() if value is instance}
                self._activate(keeper, names | set(attributes(instance)) - before)
        keeper.filled.clear()
        if keeper.computed:
            outlived = any(reference() is not None for reference in keeper.computed)
            self._activate(keeper, {keeper.name} if outlived else set())
            keeper.computed.clear()

    def _compare_globals(self, keeper: Keeper) -> None:
        namespace = keeper.namespace or {}
        now = {name: _version(_find(namespace, name)) for name in keeper.versions}
        changed = {name for name, version in now.items() if not _same(version, keeper.versions[name])}
        self._activate(keeper, {name.rpartition(".")[2] for name in changed})
        keeper.versions = now

    def _activate(self, keeper: Keeper, names: set[str]) -> None:
        if names and not keeper.named:
            self._active.append(keeper)
        keeper.named |= names


def _is_scalar(value: object) -> bool:
    kind = type(value)
    if kind is tuple or kind is frozenset:
        return _SCALARS.issuperset(map(type, value))  # type: ignore[call-overload]
    return kind in _SCALARS


def _find(namespace: Mapping[str, object], dotted: str) -> object:
    """The value of a dotted name, found in modules, classes and instances without running code of their own."""
    first, *rest = dotted.split(".")
    value = namespace.get(first)
    for name in rest:
        value = attributes(value).get(name)
    return value


def _version(value: object) -> _Version:
    """Differs once a value is replaced, or what it holds, or what that holds.

    Never runs code of the value's own: it may be a proxy that answers for something else.
    """
    held = _contents(value)
    containers = [container for container in held[:_LOOKED_INTO] if type(container) in _PLAIN]
    inner = [element for container in containers for element in _contents(container)]
    return value, len(held) + len(inner), hash((tuple(_marks(held)), tuple(_marks(inner))))


def _marks(elements: list[object]) -> Iterable[object]:
    """What tells each element from another: its value where many are alike, else its identity."""
    kinds = set(map(_identity, map(type, elements)))
    if kinds <= _SMALL_KINDS:
        return elements
    if kinds.isdisjoint(_SMALL_KINDS):
        return map(_identity, elements)
    return [element if _identity(type(element)) in _SMALL_KINDS else _identity(element) for element in elements]


def _contents(value: object) -> list[object]:
    kind = type(value)
    if issubclass(kind, _FIXED):
        return []
    if value is os.environ:
        raw = attributes(value).get("_data")
        items = sorted(raw.items()) if isinstance(raw, dict) else []
        return [text for name, text in items if os.fsdecode(name) not in VOLATILE_VARIABLES]
    if issubclass(kind, dict):
        return list(islice(dict.values(value), _LOOKED_AT))  # type: ignore[arg-type]
    for container in (list, set, deque):
        if issubclass(kind, container):
            return list(islice(container.__iter__(value), _LOOKED_AT))  # type: ignore[arg-type]
    if type(value) is ContextVar:
        return [value.get(None)]
    return list(islice(attributes(value).values(), _LOOKED_AT))


def _same(one: _Version, other: _Version) -> bool:
    return one[0] is other[0] and one[1:] == other[1:]
