"""Which objects have weak references and attributes is asked of their types, and no code of theirs runs."""

from __future__ import annotations

import collections
import functools
import threading
import types
import weakref
from typing import Any

import pytest

from pytest_perfcache.trace.looking import attributes, is_referable
from pytest_perfcache.trace.versions import is_scalar


class Plain:
    def __init__(self) -> None:
        self.own = 1


class Slots:
    __slots__ = ("own",)


class Below(Slots):
    pass


class WithReferences:
    __slots__ = ("__weakref__", "own")


class WithDictionary:
    __slots__ = ("__dict__",)


class Meta(type):
    __weakrefoffset__ = 0
    __dictoffset__ = 0


class OfMeta(metaclass=Meta):
    pass


class Local(threading.local):
    own: int


class Text(str):
    pass


class Pair(collections.namedtuple("Pair", "one two")):
    __slots__ = ()


OBJECTS: list[Any] = [
    *(Plain(), Slots(), Below(), WithReferences(), WithDictionary(), OfMeta(), Local(), threading.local()),
    *(Text(), Pair(1, 2), 1, "text", (), [], {}, set(), frozenset(), object(), ValueError(), len),
    *(collections.deque(), collections.defaultdict(int), types.SimpleNamespace(a=1), types.MappingProxyType({})),
    *(types, functools.partial(int), functools.lru_cache(int), property(), staticmethod(len), "".join),
    *(lambda: None, iter(()), (one for one in "")),
]


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_it_is_told_what_has_weak_references_and_attributes(value: Any) -> None:
    try:
        weakref.ref(value)
    except TypeError:
        assert not is_referable(value)
    else:
        assert is_referable(value)
    assert dict(attributes(value)) == getattr(value, "__dict__", {})


def test_attributes_of_a_thread_are_those_of_this_one() -> None:
    local = Local()
    local.own = 1
    assert dict(attributes(local)) == {"own": 1}


def test_an_attribute_that_only_stands_for_the_dictionary_is_not_asked() -> None:
    class Proxy:
        __slots__ = ()

        @property
        def __dict__(self) -> dict[str, object]:  # type: ignore[override]
            raise AssertionError("asked")

    assert attributes(Proxy()) == {}


def test_a_metaclass_is_not_asked_whether_a_value_is_a_scalar() -> None:
    class Loud(type):
        def __hash__(cls) -> int:
            raise AssertionError("asked")

        def __eq__(cls, other: object) -> bool:
            raise AssertionError("asked")

    class OfLoud(metaclass=Loud):
        pass

    assert not any(map(is_scalar, (OfLoud(), OfLoud, (OfLoud(), 1))))
    assert all(map(is_scalar, (None, 1, "one", object(), int, (1, "one"))))
