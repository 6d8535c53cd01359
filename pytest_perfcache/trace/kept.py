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

import functools
import os
import weakref
from collections import deque
from contextvars import ContextVar
from itertools import islice
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pytest_perfcache.facts.surroundings import VOLATILE_VARIABLES
from pytest_perfcache.trace.looking import attributes
from pytest_perfcache.trace.stateful import Stateful
from pytest_perfcache.trace.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Set
    from types import FrameType

    from pytest_perfcache.trace.codes import Codes

_ACTIVATIONS: Final = 500
"""Of one function within one unit; after that its scope stays open to the unit's end, which only adds to it."""
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
    ``first``: values of outer variables when it first ran, where they are such that many are alike;
    ``defaults``: default values of its arguments that can be changed, with their state when a unit first came by.
    """

    __slots__ = (
        "activations",
        "cache",
        "computed",
        "defaults",
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
        self.globals, self.holders = state
        self.cache: weakref.ref[Any] | None = None
        self.hits = 0
        self.named: set[str] = set()
        self.activations = 0
        self.versions: dict[str, _Version] = {}
        self.namespace: dict[str, Any] | None = None
        self.computed: list[Callable[[], object]] = []
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
            state = self._codes.stateful.get(number, Stateful((), ()))
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

    def _meet(self, keeper: Keeper, instance: object, unit: Unit) -> None:
        """Note the object that the function works on; stand on what is kept if an earlier unit met it."""
        number = _identity(instance)
        known = self._met.get(number)
        if known is None or known[0]() is not instance:
            try:
                known = weakref.ref(instance), unit.name
            except TypeError:
                self._meet_by_number(keeper, instance, unit)
                return
            self._met[number] = known
        elif known[1] != unit.name:
            self._stand_on(unit, keeper)
        if keeper.is_property:
            keeper.computed.append(known[0])

    def _compare(self, keeper: Keeper, holder: str, value: object, unit: Unit) -> None:
        """A variable of the function around: kept from before where it is not what it started with."""
        first = keeper.first.setdefault(holder, value)
        if value is not first and (type(value) is not type(first) or value != first):
            self._stand_on(unit, keeper)

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
            self._stand_on(unit, keeper)

    def _stand_on(self, unit: Unit, keeper: Keeper) -> None:
        if keeper.unit not in unit.parts:
            unit.parts.append(keeper.unit)

    def _count_hits(self, keeper: Keeper, unit: Unit) -> None:
        cache = keeper.cache() if keeper.cache is not None else None
        hits = cache.cache_info().hits if cache is not None else 0
        if hits != keeper.hits:
            keeper.hits = hits
            self._stand_on(unit, keeper)

    def _leave_behind(self, keeper: Keeper) -> None:
        """Find out whether the unit that ends left something that a later one can find by name."""
        keeper.activations = 0
        if any(before is not None and not _same(before, _version(value)) for value, before in keeper.defaults):
            self._activate(keeper, {keeper.name})
        if keeper.namespace is not None:
            now = {name: _version(_find(keeper.namespace, name)) for name in keeper.versions}
            changed = {name for name, version in now.items() if not _same(version, keeper.versions[name])}
            self._activate(keeper, {name.rpartition(".")[2] for name in changed})
            keeper.namespace = None
            keeper.versions = now
        if keeper.computed:
            outlived = any(reference() is not None for reference in keeper.computed)
            self._activate(keeper, {keeper.name} if outlived else set())
            keeper.computed.clear()

    def _activate(self, keeper: Keeper, names: set[str]) -> None:
        if names and not keeper.named:
            self._active.append(keeper)
        keeper.named |= names


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


def watch_functools(noted: Callable[[FunctionType, object], None]) -> Callable[[], None]:
    """Tell of each function that ``lru_cache`` or ``cached_property`` wraps from now on; returns the way back."""
    lru_cache, init = functools.lru_cache, functools.cached_property.__init__

    @functools.wraps(lru_cache)
    def traced_lru_cache(*args: Any, **kwargs: Any) -> Any:
        result = lru_cache(*args, **kwargs)
        if hasattr(result, "cache_info"):
            _note(result, noted)
            return result

        def decorate(function: Callable[..., Any]) -> Any:
            cache = result(function)
            _note(cache, noted)
            return cache

        return decorate

    def traced_init(self: Any, func: Any) -> None:
        init(self, func)
        if type(func) is FunctionType:
            noted(func, self)

    functools.lru_cache = traced_lru_cache
    functools.cached_property.__init__ = traced_init  # type: ignore[method-assign]

    def undo() -> None:
        functools.lru_cache = lru_cache
        functools.cached_property.__init__ = init  # type: ignore[method-assign]

    return undo


def _note(cache: Any, noted: Callable[[FunctionType, object], None]) -> None:
    function = getattr(cache, "__wrapped__", None)
    if isinstance(function, FunctionType):
        noted(function, cache)
