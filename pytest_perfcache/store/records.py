"""A module's records as bytes: traces share one table of facts, and what all traces have in common is kept once.

Layout (version 3), after the magic: the length of the head (8 bytes, little endian), the head, the body; both zlib.

* head: JSON with ``path``, ``keys`` (fact keys), ``tests`` (node id, duration, last outcome, untracked, flaky and for
  each record: passed, recorded at, number of own facts, and what is told of it where it neither passed nor failed);
* body: number of distinct fingerprints, then these (16 bytes each); for each key the number of its fingerprint; the
  number of common facts and the facts; the own facts of all records on end. Numbers are 32 bits, little endian.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from typing import Any, Final

from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Fact, History, ModuleRecords, Outcome, Record, Told, Trace, distinct_groups

_MAGIC: Final = b"records3\n"
_LEVEL: Final = 3
_identity: Final = object.__hash__
"""``id`` is an audit event, at which somebody may look."""
_NUMBER: Final = (float, int)
_NUMBER_OR_NONE: Final = (float, int, type(None))


def encode(module: ModuleRecords) -> bytes:
    records = [record for history in module.tests.values() for record in history.records]
    numbers: dict[Fact, int] = {}
    known: dict[int, int] = {}
    groups = {_identity(group): _numbered(group, numbers, known) for group in distinct_groups(r.facts for r in records)}
    traces = [set(map(_identity, record.facts.groups)) for record in records]
    everywhere = traces[0].intersection(*traces[1:]) if traces else set()
    common: set[int] = set().union(*(groups[group] for group in everywhere))
    rests = [set().union(*(groups[group] for group in trace - everywhere)) - common for trace in traces]
    if rests:
        common |= rests[0].intersection(*rests[1:])
    own = [sorted(rest - common) for rest in rests]
    sizes = iter([len(trace) for trace in own])
    head = {
        "path": module.path,
        "keys": [fact.key for fact in numbers],
        "tests": [[nodeid, *_head_of(history, sizes)] for nodeid, history in module.tests.items()],
    }
    prints = list(dict.fromkeys(fact.fingerprint for fact in numbers))
    order = {value: number for number, value in enumerate(prints)}
    body = b"".join(
        (
            _numbers([len(prints)]),
            *prints,
            _numbers(order[fact.fingerprint] for fact in numbers),
            _numbers([len(common)]),
            _numbers(sorted(common)),
            _numbers(number for trace in own for number in trace),
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


def _numbered(facts: tuple[Fact, ...], numbers: dict[Fact, int], known: dict[int, int]) -> set[int]:
    """The numbers of these facts. ``known``: by identity, because most traces share their facts and hashing is slow."""
    identities = list(map(_identity, facts))
    if not known.keys() >= set(identities):
        for identity, fact in zip(identities, facts, strict=True):
            if identity not in known:
                known[identity] = numbers.setdefault(fact, len(numbers))
    return set(map(known.__getitem__, identities))


def _head_of(history: History, sizes: Iterator[int]) -> Iterator[object]:
    yield history.duration
    yield history.last
    yield history.untracked
    yield history.flaky
    yield [
        [record.passed, record.recorded_at, next(sizes), *(record.told.plain() if record.told is not None else ())]
        for record in history.records
    ]


def _build(head: dict[str, Any], body: bytes) -> ModuleRecords:
    count = int.from_bytes(body[:4], "little")
    if 4 + 16 * count > len(body):
        raise ValueError("fewer fingerprints than announced")
    prints = [body[4 + 16 * number : 20 + 16 * number] for number in range(count)]
    rest = iter(_read_numbers(body[4 + 16 * count :]))
    facts = [Fact(key, prints[next(rest)]) for key in head["keys"]]
    common = tuple(facts[number] for number in islice(rest, next(rest)))
    look_up = facts.__getitem__
    tests: dict[str, History] = {}
    for nodeid, duration, last, untracked, flaky, records in head["tests"]:
        _check((nodeid, untracked, duration, flaky), (str, str, _NUMBER_OR_NONE, int))
        tests[nodeid] = History(
            records=tuple(
                Record(Trace(tuple(map(look_up, islice(rest, size))), (common,)), passed, recorded_at, told)
                for passed, recorded_at, size, told in map(_record_head, records)
            ),
            duration=duration,
            last=None if last is None else Outcome(last),
            untracked=untracked,
            flaky=flaky,
        )
    _check((head["path"], *head["keys"]), repeat(str))
    return ModuleRecords(head["path"], tests)


def _record_head(values: Any) -> tuple[bool, float, int, Told | None]:
    passed, recorded_at, size, *told = values
    _check((passed, recorded_at, size), (bool, _NUMBER, int))
    return passed, recorded_at, size, Told.restored(told) if told else None


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
