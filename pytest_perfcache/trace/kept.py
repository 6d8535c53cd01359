"""What one test computed and another may use without computing it: memoised values, lazy attributes, filled globals.

Each function that may keep something (:mod:`~pytest_perfcache.trace.stateful`, and what ``functools.lru_cache`` and
``functools.cached_property`` wrap) has a *scope*: everything that runs between its start and its return is added to
one unit of its own, over all tests of the process. A test stands on that unit when there is evidence that it met
what was kept:

* ``lru_cache``: the cache counted hits while the test ran;
* a lazy attribute: the function ran on an object that an earlier unit had met;
* a global: it was seen to change, and the test ran code that names it;
* ``cached_property``: a value was computed on an object that outlived its test, and the test ran code that names it.

A function that works on objects which no two units share never gives evidence. After some units it is *loose*: it has
no scope any more, only its objects are noted with the unit that met them. If a later unit meets one of them after all,
it stands on that whole unit, and the function has its scope again.
"""

from __future__ import annotations

import weakref
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pytest_perfcache.trace.helped import Helped
from pytest_perfcache.trace.keeper import Keeper
from pytest_perfcache.trace.looking import attributes, is_referable
from pytest_perfcache.trace.named import Named
from pytest_perfcache.trace.scoping import OpenScopes
from pytest_perfcache.trace.stateful import Stateful
from pytest_perfcache.trace.unit import Unit
from pytest_perfcache.trace.unreferable import Unreferable
from pytest_perfcache.trace.versions import SMALL, is_bare, is_scalar, same, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import FrameType

    from pytest_perfcache.trace.calls import CallTracer
    from pytest_perfcache.trace.codes import Codes

    _Names: TypeAlias = tuple[str, ...]
    _Values: TypeAlias = tuple[object, ...]
    _Globals: TypeAlias = dict[str, Any] | None

_ACTIVATIONS: Final = 500
"""Of one function within one unit; after that its scope stays open to the unit's end, which only adds to it."""
_PLACEHOLDERS: Final = (*SMALL, type, FunctionType)
_identity: Final = object.__hash__
"""Tells objects apart as ``id`` does, which is an audit event and so many times slower."""
_MANY: Final = 1000
"""Objects that are remembered before those that are gone are dropped."""


class Kept:
    """Keepers by function number, and the scopes that are open now. Used by the session's thread only."""

    def __init__(
        self,
        codes: Codes,
        calls: CallTracer,
        gather: Callable[[], None],
        current: Callable[[], Unit | None],
        stack: Sequence[Unit],
    ) -> None:
        """``gather`` gives what ran so far to the units at work, of which ``stack`` holds the innermost last."""
        self._codes = codes
        self._busy = calls.busy
        self._gather = gather
        self._current = current
        self._stack = stack
        self._keepers: dict[int, Keeper] = {}
        self.scopes = OpenScopes(calls.awaited)
        self.open = self.scopes.keepers
        self._met: dict[int, tuple[Callable[[], object], str, Unit | None]] = {}
        """Objects by identity, with the name of the unit that met them first; the unit where a loose function did."""
        self.met_here: dict[int, Callable[[], object]] = {}
        """Those that loose functions met in the current unit."""
        self._many = _MANY
        self.loose: set[int] = set()
        self._helped = Helped()
        self._unreferable = Unreferable()
        self.named = Named(codes)
        self._stepping: dict[int, Keeper] = {}
        self._caches: list[Keeper] = []
        self._entered: list[Keeper] = []
        """Those that were entered in the current unit."""
        self.look_up: Callable[[object], None] = lambda _: None
        """Called with what may be the name of a loaded module that is about to be looked up."""

    def add_cache(self, number: int, cache: object) -> None:
        """A ``functools.lru_cache`` was put around the function."""
        keeper = self._exact(number)
        if keeper.cache is None:
            self._caches.append(keeper)
        keeper.cache = weakref.ref(cache)

    def add_property(self, number: int, own: str) -> None:
        """A ``functools.cached_property`` was put around the function, whose first argument has this name."""
        keeper = self._exact(number)
        keeper.belongs_to(own)

    def add_defaults(self, number: int, defaults: Iterable[object]) -> None:
        """The function has default values that can be changed."""
        self._exact(number).defaults = [(value, None) for value in defaults]

    def add_global(self, number: int, name: str) -> None:
        """What the function returns is kept in a global of its module."""
        keeper = self._exact(number)
        keeper.globals = (*keeper.globals, name)

    def loaded(self, path: str, namespace: dict[str, Any]) -> None:
        """A module was imported: its generators that change globals are known from now on."""
        for number, names in self._codes.steps.items():
            if self._codes.names[number][0] == path:
                keeper = self._stepping[number] = self._keeper(number)
                keeper.globals, keeper.versions = names, {}
                keeper.note_globals(namespace)

    def enter(self, number: int, frame: FrameType | None) -> None:
        """The function starts; ``frame`` is its own."""
        keeper = self._keepers.get(number) or self._keeper(number)
        unit = self._current()
        values: _Values = ()
        if frame is not None and keeper.told:
            values = tuple(map(frame.f_locals.get, keeper.told))
            self._look_up_keys(keeper, values)
        if frame is None or unit is None:
            self._count(keeper, unit)
        else:
            outer = frame.f_code.co_freevars if keeper.told else ()
            self._begin(keeper, unit, values, outer, frame.f_globals)

    def meets(
        self, number: int, names: _Names, values: _Values, outer: _Names = (), namespace: _Globals = None
    ) -> bool:
        """The function starts with these values; whether its start needs no more than this."""
        keeper = self._keepers.get(number) or self._keeper(number)
        unit = self._current()
        # Functions of one name, such as a property's, may differ in what is to be known of them.
        if unit is None or keeper.told != names:
            return False
        if namespace is None and (keeper.on_demand or (keeper.globals and keeper.namespace is None)):
            return False
        if keeper.loose and not keeper.globals:
            self._meet_loosely(keeper, values, unit)
            if keeper.loose:
                return True
        if keeper.keys:
            self._look_up_keys(keeper, values)
        self._begin(keeper, unit, values, outer, namespace)
        return True

    def _look_up_keys(self, keeper: Keeper, values: _Values) -> None:
        for name in keeper.keys:
            self.look_up(values[keeper.told.index(name)])

    def _meet_loosely(self, keeper: Keeper, holders: _Values, unit: Unit) -> None:
        try:
            for holder in holders:
                if keeper.tested:
                    self._helped.find(keeper, holder, unit)
                self._meet(keeper, holder, unit)
        except Exception as error:
            unit.spoil(keeper.failure(error))

    def _begin(self, keeper: Keeper, unit: Unit, values: _Values, outer: _Names, namespace: _Globals) -> None:
        """``values``: of the variables that it is to be told of; ``outer``: names of those of the functions around."""
        was_loose = keeper.loose
        if not was_loose:
            self._gather()
        self._count(keeper, unit)
        if (keeper.globals or keeper.attributes) and not unit.is_test:
            keeper.given_by(unit)
        try:
            if namespace is not None:
                keeper.note_namespace(namespace, values)
            self._look(keeper, unit, values, outer)
        except Exception as error:
            unit.spoil(keeper.failure(error))
        if not keeper.loose:
            if was_loose:
                self._count(keeper, unit)
            self.scopes.open(keeper, awaited=keeper.number not in self._busy)

    def _count(self, keeper: Keeper, unit: Unit | None) -> None:
        """One entry more in this unit; a function of which only globals matter is asked no more once it is loose."""
        if keeper.loose and not keeper.globals:
            return
        if not keeper.activations:
            self._entered.append(keeper)
        keeper.activations += 1
        if keeper.loose and unit is not None and unit not in keeper.unseen:
            keeper.unseen.append(unit)
        if (keeper.activations == _ACTIVATIONS and not keeper.keys) or (keeper.loose and not keeper.heads):
            self._busy.add(keeper.number)

    def leave(self, number: int) -> None:
        """The function returns."""
        keeper = self._keepers.get(number)
        if keeper is None or keeper.activations >= _ACTIVATIONS or not keeper.depth or self._current() is None:
            return
        self._gather()
        self.scopes.close(keeper, self._stack[-1])
        depth = len(self.open)
        if self._helped.open:
            self._helped.end(depth)
        if self._unreferable.present:
            self._unreferable.let_go(depth)

    def settle(self, unit: Unit, blocks: int) -> None:
        """The outermost unit ends: let it stand on what it met, and look at what it left behind.

        ``blocks``: bit mask of the functions that ran.
        """
        self.scopes.clear()
        self._helped.end(0)
        self._busy.clear()
        self.named.use(unit, blocks)
        for number, keeper in self._stepping.items():
            if blocks >> number & 1:
                keeper.unit.stand_on(unit)
                self._compare_globals(keeper)
        self._leave_all_behind(unit)
        self._unreferable.let_go(0)
        if len(self._met) > self._many:
            self._met = {number: known for number, known in self._met.items() if known[0]() is not None}
            self._many = max(_MANY, 2 * len(self._met))

    def ended(self, unit: Unit) -> None:
        """A unit ended that is no test, such as an import or a fixture's set-up: the same, as far as others go on."""
        self.named.use(unit, unit.summed_up(self._codes).blocks)
        self._leave_all_behind(unit)

    def count_hits(self, unit: Unit) -> None:
        """Until now this unit was at work: let it stand on the caches that counted hits meanwhile."""
        for keeper in self._caches:
            cache = keeper.cache() if keeper.cache is not None else None
            hits = cache.cache_info().hits if cache is not None else 0
            if hits != keeper.hits:
                keeper.hits = hits
                keeper.lend(unit)

    def _leave_all_behind(self, unit: Unit) -> None:
        """Of those that still run, the unit around will be asked."""
        entered, self._entered = self._entered, [keeper for keeper in self._entered if keeper.depth]
        for keeper in entered:
            if not keeper.depth:
                self._leave_behind(keeper, unit)

    def _exact(self, number: int) -> Keeper:
        keeper = self._keeper(number)
        keeper.exact = True
        self._tighten(keeper)
        return keeper

    def _tighten(self, keeper: Keeper) -> None:
        """Give a loose function its scope again; what runs from now on is in it."""
        if keeper.loose:
            self._gather()
            keeper.loose = False
            self.loose.discard(keeper.number)

    def _loosen(self, keeper: Keeper) -> None:
        """Take the scope from a function that was not found to keep anything for long."""
        keeper.loosen()
        self.loose.add(keeper.number)

    def _keeper(self, number: int) -> Keeper:
        found = self._keepers.get(number)
        if found is None:
            qualname = self._codes.names[number][1]
            state = self._codes.stateful.get(number, Stateful())
            unit = Unit(f"what {qualname} keeps", blocks={number})
            found = self._keepers[number] = Keeper(number, qualname.rpartition(".")[2], unit, state)
        return found

    def _look(self, keeper: Keeper, unit: Unit, values: _Values, outer: _Names) -> None:
        if keeper.defaults and keeper.activations == 1:
            keeper.defaults = [(value, version(value)) for value, _ in keeper.defaults]
        if keeper.paths:
            self._helped.begin(keeper, values, unit, len(self.open))
        for at, holder, always in keeper.noted:
            value = values[at]
            if outer and holder in outer:
                keeper.exact = True
                if issubclass(type(value), _PLACEHOLDERS):
                    self._compare(keeper, holder, value, unit)
                    continue
            if always or keeper.loose:
                self._meet(keeper, value, unit)
            else:
                self._meet_again(value, unit)

    def _meet(self, keeper: Keeper, instance: object, unit: Unit) -> None:
        """Note the object that the function works on; stand on what is kept if an earlier unit met it."""
        number = _identity(instance)
        known = self._met.get(number)
        if known is None or known[0]() is not instance:
            if is_scalar(instance):
                return
            if not is_referable(instance):
                self._meet_unreferable(keeper, instance, unit)
                return
            known = self._met[number] = weakref.ref(instance), unit.name, unit if keeper.loose else None
            if keeper.loose:
                self.met_here[number] = known[0]
        elif (known[1] != unit.name or known[2] not in (None, unit)) and not is_bare(instance):
            self._tighten(keeper)
            keeper.found()
            keeper.lend(unit)
            if keeper.was_loose:
                self._meet_again(instance, unit)
        elif keeper.loose:
            self._met[number] = (known[0], known[1], unit)
            self.met_here[number] = known[0]
        if keeper.own:
            keeper.computed.append(known[0])

    def _meet_unreferable(self, keeper: Keeper, instance: object, unit: Unit) -> None:
        keeper.exact = True
        self._tighten(keeper)
        if self._unreferable.meet(instance, unit.name, len(self.open)):
            keeper.lend(unit)

    def _meet_again(self, instance: object, unit: Unit) -> None:
        """The function has a scope, in which others fill objects: this one may have been filled while it had none."""
        known = self._met.get(_identity(instance))
        if known is not None and known[2] not in (None, unit) and known[0]() is instance:
            unit.stand_on(known[2])

    def _compare(self, keeper: Keeper, holder: str, value: object, unit: Unit) -> None:
        """A variable of the function around: kept from before where it is not what it started with."""
        first = keeper.first.setdefault(holder, value)
        if value is not first and (type(value) is not type(first) or value != first):
            keeper.lend(unit)

    def _leave_behind(self, keeper: Keeper, unit: Unit) -> None:
        """Find out whether the unit that ends left something that a later one can find by name."""
        keeper.activations = 0
        keeper.units += 1
        if keeper.attributes:
            self._activate(keeper, set(keeper.attributes))
        if keeper.defaults and any(
            before is not None and not same(before, version(value)) for value, before in keeper.defaults
        ):
            self._activate(keeper, {keeper.name})
        if keeper.namespace is not None:
            if self._compare_globals(keeper) and keeper.unseen:
                for unseen in (*keeper.unseen, unit):
                    (keeper.unit.stand_on if unseen.is_test else keeper.given_by)(unseen)
            keeper.namespace = None
        keeper.unseen.clear()
        if keeper.filled or keeper.computed:
            self._leave_attributes(keeper)
        if keeper.units >= keeper.patience and not keeper.exact:
            self._loosen(keeper)

    def _leave_attributes(self, keeper: Keeper) -> None:
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

    def _compare_globals(self, keeper: Keeper) -> bool:
        """Whether one of its globals changed. From then on the function always has a scope."""
        self._activate(keeper, changed := keeper.changed_globals())
        return bool(changed)

    def _activate(self, keeper: Keeper, names: set[str]) -> None:
        if names and not keeper.named:
            self.named.add(keeper)
            keeper.exact = True
            self._tighten(keeper)
        keeper.named |= names
