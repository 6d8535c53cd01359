"""What is remembered of a collected module so that its tests can stand there without it: a *sketch*.

A sketch is JSON, so that a store that somebody else wrote to can do no harm. Values in marks are kept where they are
plain (numbers, text, None, and lists, tuples and dictionaries of them); a mark with others is kept by name, and asks
the real test when somebody wants more of it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_perfcache.errors import CodecError

_VERSION: Final = 1
_PLAIN: Final = (type(None), bool, int, float, str)
_LEVEL: Final = 3


class MarkSketch(NamedTuple):
    """A mark; ``arguments`` is None where they are not plain, and else the encoded pair of args and kwargs."""

    name: str
    arguments: Any = None


class ClassSketch(NamedTuple):
    """A class that holds tests. ``parent``: the number of the class around it, -1 for the module."""

    name: str
    parent: int
    kind: str
    marks: tuple[int, ...]


class ItemSketch(NamedTuple):
    """A test. ``kind``: how its node is called; ``marks``: numbers of its own marks."""

    name: str
    original: str
    parent: int
    kind: str
    path: str
    """Where it is defined, from the root as in ``item.location``."""
    line: int | None
    domain: str
    marks: tuple[int, ...]
    attributes: tuple[str, ...]
    """Names of the function's own attributes, which ``-k`` matches too."""
    fixtures: tuple[str, ...]
    parametrized: bool


class Sketch(NamedTuple):
    """A module's tests in the order of collection."""

    marks: tuple[MarkSketch, ...]
    own: tuple[int, ...]
    """The module's own marks."""
    classes: tuple[ClassSketch, ...]
    items: tuple[ItemSketch, ...]
    held: tuple[str, ...] = ()
    """Names of the attributes that the nodes of the tests have, plugins' own among them."""

    @property
    def parametrized(self) -> bool:
        return any(item.parametrized for item in self.items)

    def to_bytes(self) -> bytes:
        document = [_VERSION, self.marks, self.own, self.classes, self.items, self.held]
        return zlib.compress(json.dumps(document, separators=(",", ":")).encode("utf-8", "surrogatepass"), _LEVEL)

    @classmethod
    def from_bytes(cls, data: bytes) -> Sketch:
        """What :meth:`to_bytes` wrote; :class:`CodecError` for anything else."""
        try:
            version, marks, own, classes, items, held = json.loads(zlib.decompress(data))
            if version != _VERSION:
                raise ValueError("written by another version")
            found = cls(
                tuple(MarkSketch(*mark) for mark in marks),
                tuple(own),
                tuple(ClassSketch(*row) for row in classes),
                tuple(ItemSketch(*row) for row in items),
                tuple(held),
            )
        except (ValueError, TypeError, RecursionError, zlib.error) as error:
            raise CodecError(f"damaged sketch of a module: {error}") from error
        return found


EMPTY: Final = Sketch((), (), (), ())
"""The sketch of a module of which nothing is to appear."""


def pack(args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
    """A mark's arguments as JSON can hold them, None where it can not.

    >>> unpack(pack((1, ("a", [2.5])), {"why": None}))
    ((1, ('a', [2.5])), {'why': None})
    """
    try:
        return [_pack(tuple(args)), _pack(dict(kwargs))]
    except _NotPlainError:
        return None


def unpack(packed: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The args and kwargs that :func:`pack` was given."""
    args, kwargs = (_unpack(value) for value in packed)
    return args, kwargs


class _NotPlainError(Exception):
    """A value that JSON would not give back as it was."""


def _pack(value: object) -> Any:
    if type(value) in _PLAIN:
        return value
    if type(value) is tuple:
        return {"t": [_pack(part) for part in value]}
    if type(value) is list:
        return [_pack(part) for part in value]
    if type(value) is dict:
        return {"d": [[_pack(name), _pack(part)] for name, part in value.items()]}
    raise _NotPlainError


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(part) for part in value]
    if isinstance(value, dict):
        if "t" in value:
            return tuple(_unpack(part) for part in value["t"])
        return {_unpack(name): _unpack(part) for name, part in value["d"]}
    return value


def number_of(mark: MarkSketch, table: dict[str, int], marks: list[MarkSketch]) -> int:
    """The mark's place in the list, to which it is added where it is new."""
    key = json.dumps(mark)
    if key not in table:
        table[key] = len(marks)
        marks.append(mark)
    return table[key]
