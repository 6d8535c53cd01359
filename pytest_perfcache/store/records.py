"""A module's records as bytes: traces share one table of facts, and what many traces have in common is kept once.

Layout (version 4), after the magic: the length of the head (8 bytes, little endian), the head, the body; both zlib.

* head: JSON with ``path``, ``keys`` (fact keys), ``groups`` (sizes of the groups of facts), ``shared`` (numbers of the
  groups that some records share) and ``tests`` (node id, duration, last outcome, untracked, flaky and for each record:
  passed, recorded at, number of own facts, which of ``shared`` it has, and what is told of it where it neither passed
  nor failed);
* body: number of distinct fingerprints, then these (16 bytes each); for each key the number of its fingerprint; the
  facts of all groups on end; the own facts of all records on end. Numbers are 32 bits, little endian.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Any, Final

from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Fact, History, ModuleRecords, Outcome, Record, Told, Trace

_MAGIC: Final = b"records4\n"
_LEVEL: Final = 3
_identity: Final = object.__hash__
"""``id`` is an audit event, at which somebody may look."""
_NUMBER: Final = (float, int)
_NUMBER_OR_NONE: Final = (float, int, type(None))


def encode(module: ModuleRecords) -> bytes:
    traces = [record.facts for history in module.tests.values() for record in history.records]
    table = _Table()
    own = [set(table.numbers(trace.own)) for trace in traces]
    common = own[0].intersection(*own[1:]) if own else set()
    shared = {_identity(group): group for trace in traces for group in trace.shared}
    groups = [sorted(common), *map(table.numbers, shared.values())]
    places = {identity: place for place, identity in enumerate(shared, 1)}
    used = [(0, *(places[_identity(group)] for group in trace.shared)) for trace in traces]
    combinations = {combination: number for number, combination in enumerate(dict.fromkeys(used))}
    rests = [sorted(facts - common) for facts in own]
    numbers = iter([(len(rest), combinations[one]) for rest, one in zip(rests, used, strict=True)])
    head = {
        "path": module.path,
        "keys": [fact.key for fact in table.facts],
        "groups": list(map(len, groups)),
        "shared": list(combinations),
        "tests": [[nodeid, *_head_of(history, numbers)] for nodeid, history in module.tests.items()],
    }
    prints = list(dict.fromkeys(fact.fingerprint for fact in table.facts))
    order = {value: number for number, value in enumerate(prints)}
    body = b"".join(
        (
            _numbers([len(prints)]),
            *prints,
            _numbers(order[fact.fingerprint] for fact in table.facts),
            _numbers(chain.from_iterable(groups)),
            _numbers(chain.from_iterable(rests)),
        )
    )
    packed = zlib.compress(json.dumps(head, separators=(",", ":")).encode(), _LEVEL)
    return b"".join((_MAGIC, len(packed).to_bytes(8, "little"), packed, zlib.compress(body, _LEVEL)))


def decode(data: bytes) -> ModuleRecords:
    """The records in ``data``; :class:`CodecError` for anything that :func:`encode` did not write."""
    if not data.startswith(_MAGIC):
        raise CodecError("not the records of a module, or of another version")
    try:
        start = len(_MAGIC) + 8
        end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
        head = json.loads(zlib.decompress(data[start:end]))
        return _build(head, zlib.decompress(data[end:]))
    except (ValueError, KeyError, TypeError, IndexError, StopIteration, RecursionError, zlib.error) as error:
        raise CodecError(f"damaged records: {error}") from error


class _Table:
    """The facts of a module, each once, with a number."""

    def __init__(self) -> None:
        self.facts: dict[Fact, int] = {}
        self._known: dict[int, int] = {}
        """By identity, because most traces share their facts and hashing is slow."""

    def numbers(self, facts: tuple[Fact, ...]) -> list[int]:
        identities = list(map(_identity, facts))
        known = self._known
        try:
            return list(map(known.__getitem__, identities))
        except KeyError:
            for identity, fact in zip(identities, facts, strict=True):
                if identity not in known:
                    known[identity] = self.facts.setdefault(fact, len(self.facts))
        return list(map(known.__getitem__, identities))


def _head_of(history: History, numbers: Iterator[tuple[int, int]]) -> Iterator[object]:
    yield history.duration
    yield history.last
    yield history.untracked
    yield history.flaky
    yield [
        [record.passed, record.recorded_at, *next(numbers), *(record.told.plain() if record.told is not None else ())]
        for record in history.records
    ]


def _build(head: dict[str, Any], body: bytes) -> ModuleRecords:
    count = int.from_bytes(body[:4], "little")
    if 4 + 16 * count > len(body):
        raise ValueError("fewer fingerprints than announced")
    prints = [body[4 + 16 * number : 20 + 16 * number] for number in range(count)]
    rest = iter(_read_numbers(body[4 + 16 * count :]))
    facts = [Fact(key, prints[next(rest)]) for key in head["keys"]]
    look_up = facts.__getitem__
    groups = [tuple(map(look_up, islice(rest, size))) for size in head["groups"]]
    shared = [tuple(map(groups.__getitem__, combination)) for combination in head["shared"]]
    tests: dict[str, History] = {}
    for nodeid, duration, last, untracked, flaky, records in head["tests"]:
        _check((nodeid, untracked, duration, flaky), (str, str, _NUMBER_OR_NONE, int))
        tests[nodeid] = History(
            records=tuple(
                Record(Trace(tuple(map(look_up, islice(rest, size))), shared[number]), passed, recorded_at, told)
                for passed, recorded_at, size, number, told in map(_record_head, records)
            ),
            duration=duration,
            last=None if last is None else Outcome(last),
            untracked=untracked,
            flaky=flaky,
        )
    _check((head["path"], *head["keys"]), repeat(str))
    return ModuleRecords(head["path"], tests)


def _record_head(values: Any) -> tuple[bool, float, int, int, Told | None]:
    passed, recorded_at, size, number, *told = values
    _check((passed, recorded_at, size, number), (bool, _NUMBER, int, int))
    return passed, recorded_at, size, number, Told.restored(told) if told else None


def _check(values: Iterable[object], types: Iterable[type | tuple[type, ...]]) -> None:
    for value, expected in zip(values, types, strict=False):
        if not isinstance(value, expected):
            raise TypeError(f"{value!r} is of another type")


def _numbers(values: Iterable[int]) -> bytes:
    found = array("I", values)
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()


def _read_numbers(data: bytes) -> array[int]:
    found = array("I")
    found.frombytes(data)
    if sys.byteorder == "big":
        found.byteswap()
    return found
