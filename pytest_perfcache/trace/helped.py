"""Functions that test something of an argument and leave it to others to fill it.

``if self._prices is None: self._load()``: the second test that comes by finds the prices there, and runs nothing of
what made them. Such functions are found in their bytecode (:func:`tested`). When one returns, what it tests is compared
with what it was at the start; where that changed, whoever brings the same object again stands on the function's scope.
"""

from __future__ import annotations

import re
import sys
import weakref
from functools import partial
from itertools import pairwise
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_perfcache.trace.containers import (
    CACHES,
    ENTANGLED,
    MUTATORS,
    Instruction,
    arguments_of,
    codes_of,
    effect,
    is_method,
    local_of,
    name_of,
)
from pytest_perfcache.trace.looking import attributes, is_referable
from pytest_perfcache.trace.versions import PLAIN, is_scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import CodeType

    from pytest_perfcache.trace.keeper import Keeper
    from pytest_perfcache.trace.unit import Unit

_GUARDS: Final = frozenset(("AttributeError", "IndexError", "KeyError", "LookupError"))
_ASKED: Final = frozenset(("getattr", "hasattr"))
TELLING: Final = frozenset((*_GUARDS, *_ASKED, "get"))
"""Names that may stand for a test."""
_ONLY_LOOK: Final = frozenset(
    "bool callable getattr hasattr id int isinstance issubclass iter len repr str type".split()
)
"""Functions to which an object can be given, and stays as it is."""
_TESTS: Final = ("CONTAINS_OP", "COPY", "IS_OP", "JUMP_IF", "POP_JUMP", "STORE_FAST", "TO_BOOL", "UNARY_NOT")
_COMPARISONS: Final = ("COMPARE_OP", "CONTAINS_OP", "IS_OP")
_COMBINES: Final = ("BINARY", *_COMPARISONS)
_OPERANDS: Final = 2
_IN_PLACE: Final = 13
"""From this argument on, BINARY_OP stands for ``+=`` and the like."""
CO_OPTIMIZED: Final = 0x1
"""As in ``inspect``, which takes 10 ms to import. Set for functions."""


def _one_of(*names: str) -> bytes:
    return b"[%b]" % re.escape(bytes(codes_of(*names, prefixes=True)))


def _then(name: str) -> bytes:
    """An instruction with its argument and what is cached behind it."""
    return b"%b.{%d}" % (_one_of(name), 1 + 2 * CACHES.get(codes_of(name)[0], 0))


def _any_of(*patterns: bytes) -> bytes:
    return b"(?:%b)" % b"|".join(patterns)


_LOADED: Final = _any_of(_one_of("LOAD_CONST", "LOAD_DEREF", "LOAD_FAST") + b".", _then("LOAD_GLOBAL"))
_MAY_TEST: Final = re.compile(
    b"(?=%b(?:%b.)?%b{0,2}%b)"
    % (
        _any_of(_one_of("LOAD_FAST", "LOAD_DEREF", "STORE_FAST_LOAD_FAST") + b".", _then("LOAD_GLOBAL")),
        _one_of("EXTENDED_ARG"),
        _any_of(*(_then(name) for name in ("LOAD_ATTR", "LOAD_METHOD") if codes_of(name))),
        _any_of(_one_of(*_TESTS), _LOADED + _one_of(*_COMPARISONS), _one_of("PRECALL", "CALL") + b"\0"),
    ),
    re.DOTALL,
)
BUILDERS: Final = frozenset(("__init__", "__post_init__", "__set_name__", "__setstate__", "__attrs_post_init__"))
"""What they work on is new."""
_identity: Final = object.__hash__  # `id` is an audit event
_MISSING: Final = object()
_State: TypeAlias = tuple[int, int]
Path: TypeAlias = tuple[str, ...]
"""Names of attributes that lead from an object to what is tested."""
_MANY: Final = 1000
"""Objects that are remembered before those that are gone are dropped."""


def may_test(code: CodeType) -> bool:
    """A cheap sieve before :func:`tested`."""
    if not code.co_flags & CO_OPTIMIZED:
        return False
    if not TELLING.isdisjoint(code.co_names):
        return True
    return any(found.start() % 2 == 0 for found in _MAY_TEST.finditer(code.co_code))


def tested(code: CodeType, instructions: list[Instruction]) -> tuple[str, ...]:
    """``argument.attribute`` for what is tested of arguments that others are given, or of which a method is called."""
    if code.co_name in BUILDERS:
        return ()
    found = set(_tested(code, instructions, guarded=not _GUARDS.isdisjoint(code.co_names)))
    given = set(_given(code, instructions)) if found else set()
    return tuple(sorted(f"{code.co_varnames[number]}.{name}" for number, name in found if number in given))


def _arguments(code: CodeType, instructions: list[Instruction]) -> Iterator[tuple[int, int]]:
    """Where arguments are loaded, and their numbers; those that inner functions use too have the same ones."""
    count = arguments_of(code)
    for at, one in enumerate(instructions[:-2]):
        number = local_of(one)
        if number is not None and number < count:
            yield at, number


def _given(code: CodeType, instructions: list[Instruction]) -> Iterator[int]:
    """Arguments that others are given, or one of their attributes, or of which a method is called."""
    for at, number in _arguments(code, instructions):
        first = instructions[at + 1]
        place = at + 1 if first.name == "LOAD_ATTR" and not is_method(first) else at
        if (
            (is_method(first) and not _is_predicate(code, instructions, at + 1))
            or code.co_varnames[number] in code.co_cellvars
            or _is_changed_later(code, instructions, place + 1)
            or (_is_passed(instructions, place) and _called_before(code, instructions, at) not in _ONLY_LOOK)
        ):
            yield number


def _is_passed(instructions: list[Instruction], at: int) -> bool:
    """Whether what is on top of the stack after this instruction becomes the argument of a call."""
    above = 0
    for one in instructions[at + 1 :]:
        if one.name.startswith(_COMBINES) and above < _OPERANDS:
            return False
        if any(part in one.name for part in ENTANGLED):
            return above > 0  # another argument of what may be a call
        above += effect(one)
        if above < 0:
            return one.name.startswith(("CALL", "PRECALL"))
    return False


def _is_changed_later(code: CodeType, instructions: list[Instruction], at: int) -> bool:
    """Whether a method that changes its object is taken here, or a second name given that is changed in place."""
    one = instructions[at]
    if one.name in ("LOAD_ATTR", "LOAD_METHOD"):
        return name_of(code, one) in MUTATORS
    return one.name == "STORE_FAST" and any(
        first.name == "BINARY_OP" and first.argument >= _IN_PLACE and second[:2] == one[:2]
        for first, second in pairwise(instructions)
    )


def _tested(code: CodeType, instructions: list[Instruction], *, guarded: bool) -> Iterator[tuple[int, str]]:
    """``guarded``: what is not there raises an exception, so that looking at it is a test."""
    for at, number in _arguments(code, instructions):
        following, *others = instructions[at + 1 : at + 5]
        if following.name == "LOAD_ATTR" and not is_method(following):
            name = name_of(code, following)
            if guarded or _is_test(code, others):
                yield number, name
            elif _is_plain(code, others[0]) and _is_test(code, others[1:]):
                yield number, f"{name}.{name_of(code, others[0])}"
        elif _is_predicate(code, instructions, at + 1):
            yield number, name_of(code, following)
        elif following.name == "LOAD_CONST" and _called_before(code, instructions, at) in _ASKED:
            asked = code.co_consts[following.argument]
            if isinstance(asked, str):
                yield number, asked


def _is_plain(code: CodeType, one: Instruction) -> bool:
    """Whether an attribute is loaded that is no method which changes its object."""
    return one.name == "LOAD_ATTR" and not is_method(one) and name_of(code, one) not in MUTATORS


def _is_predicate(code: CodeType, instructions: list[Instruction], at: int) -> bool:
    """Whether a method is called here without arguments, and what it gives is tested."""
    if not is_method(instructions[at]):
        return False
    following = [one for one in instructions[at + 1 : at + 6] if one.name != "PRECALL"]
    first, *others = following
    tests = bool(others) and others[0].name != "STORE_FAST" and _is_test(code, others)
    return first.name == "CALL" and first.argument == 0 and tests


def tested_globals(code: CodeType, instructions: list[Instruction]) -> Iterator[str]:
    """Globals that are tested, or an attribute of theirs, and that others are given or of which a method is called."""
    tested: dict[str, set[str]] = {}
    given: set[str] = set()
    for at, one in enumerate(instructions[:-2]):
        if one.name != "LOAD_GLOBAL" or one.argument & 1:
            continue
        name, following = name_of(code, one), instructions[at + 1]
        if following.name == "LOAD_ATTR" and not is_method(following):
            if _is_test(code, instructions[at + 2 : at + 4]):
                tested.setdefault(name, set()).add(f"{name}.{name_of(code, following)}")
        elif not _is_compared_with(instructions, at) and _is_test(code, instructions[at + 1 : at + 3]):
            tested.setdefault(name, set()).add(name)
        if (is_method(following) and name_of(code, following) != "get") or _is_passed(instructions, at):
            given.add(name)
    for name in tested.keys() & given - sys.stdlib_module_names:
        yield from tested[name]


def _is_compared_with(instructions: list[Instruction], at: int) -> bool:
    """Whether the global is only given another name, or is what something else may be, as in ``value is MISSING``."""
    following = instructions[at + 1].name
    return following == "STORE_FAST" or (following == "IS_OP" and instructions[at - 1].name != "LOAD_CONST")


def _called_before(code: CodeType, instructions: list[Instruction], at: int) -> str:
    """The global that is loaded just before the first argument of a call; empty where none is."""
    place = at - 2 if at > 1 and instructions[at - 1].name == "PUSH_NULL" else at - 1
    return name_of(code, instructions[place]) if place >= 0 and instructions[place].name == "LOAD_GLOBAL" else ""


def _is_test(code: CodeType, following: list[Instruction]) -> bool:
    if not following:
        return False
    first = following[0]
    if first.name.startswith(_TESTS) or (is_method(first) and name_of(code, first) == "get"):
        return True
    return len(following) > 1 and first.name.startswith("LOAD_") and following[1].name.startswith(_COMPARISONS)


class Helped:
    """Which objects were filled while such functions ran."""

    def __init__(self) -> None:
        self.open: list[tuple[int, Keeper, Unit, Callable[[], object], Sequence[Path], list[_State]]] = []
        """What was found at the start of functions, after the number of scopes that were open around their own."""
        self._filled: dict[tuple[int, int], tuple[Callable[[], object] | None, str]] = {}
        """Function and object → the object, None where it can not be referred to weakly, so that its place must do;
        and the name of the unit that filled it."""
        self._many = _MANY

    def begin(self, keeper: Keeper, values: Sequence[object], unit: Unit, depth: int) -> None:
        """The function starts: stand on its scope where it was seen to fill one of its arguments."""
        for at, paths in keeper.paths:
            instance = values[at]
            if is_scalar(instance):
                continue
            self.find(keeper, instance, unit)
            if not keeper.loose:
                reference = _reference(instance) or partial(_itself, instance)
                self.open.append((depth, keeper, unit, reference, paths, _states(instance, paths)))

    def find(self, keeper: Keeper, instance: object, unit: Unit) -> None:
        """Stand on the function's scope where an earlier unit was seen to fill this object in it."""
        known = self._filled.get((keeper.number, _identity(instance)))
        if known is not None and known[1] != unit.name and (known[0] is None or known[0]() is instance):
            keeper.found()
            keeper.lend(unit)

    def end(self, depth: int) -> None:
        """The scopes from this depth on are closed: note what was filled in them."""
        while self.open and self.open[-1][0] >= depth:
            _, keeper, unit, reference, paths, before = self.open.pop()
            instance = reference()
            if instance is not None and _states(instance, paths) != before:
                self._filled[keeper.number, _identity(instance)] = _reference(instance), unit.name
        if len(self._filled) > self._many:
            kept = {key: one for key, one in self._filled.items() if one[0] is None or one[0]() is not None}
            self._filled, self._many = kept, max(_MANY, 2 * len(kept))


def _reference(instance: object) -> Callable[[], object] | None:
    return weakref.ref(instance) if is_referable(instance) else None


def _itself(instance: object) -> object:
    return instance


def _states(instance: object, paths: Sequence[Path]) -> list[_State]:
    """What is compared: the attributes and how much they hold; of the whole object where there is no such attribute.

    Nothing of it is held, so that objects go when they would.
    """
    own = attributes(instance)
    states = []
    for path in paths:
        holder, held = instance, own
        for name in path[:-1]:
            holder = _value(holder, held, name)
            held = attributes(holder)
        value = _value(holder, held, path[-1])
        if value is _MISSING:
            states.append((0, hash(tuple(map(_identity, held.values())))))
        else:
            states.append((_identity(value), len(value) if type(value) in PLAIN else 0))  # type: ignore[arg-type]
    return states


def _value(instance: object, held: Mapping[str, object], attribute: str) -> object:
    """That of an attribute that the object has itself, in what it ``held`` or in a slot."""
    value = held.get(attribute, _MISSING)
    return _in_slot(instance, attribute) if value is _MISSING else value


def _in_slot(instance: object, attribute: str) -> object:
    for base in type.mro(type(instance)):
        member = attributes(base).get(attribute)
        if type(member) is MemberDescriptorType:
            try:
                return member.__get__(instance)
            except AttributeError:
                return _MISSING
    return _MISSING
