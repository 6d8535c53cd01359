"""What modules' tests and the lists of them depend on, block by block, for the day when a file is edited.

The modules of one run are kept together, since most of what they depend on is the same. Encoded: zlib over JSON: the
version; the distinct facts, as pairs of key and fingerprint (in hex); the distinct files, as path, fingerprint and
names; and by path of the module its facts, files of the list and files of the tests (numbers of these), the names of
its tests, and paths.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Fact, Fingerprint, Kind, block_key

_Value = TypeVar("_Value", bound=Hashable)
_VERSION: Final = 3
_LEVEL: Final = 1
_OF_SOURCE: Final = tuple(f"{kind}:" for kind in (Kind.BLOCK, Kind.SKELETON, Kind.SOURCE))


class SourceFacts(NamedTuple):
    """Facts of one source file. ``names``: the kind of each, and a block's qualified name: ``block:Cart.total``."""

    path: str
    content: Fingerprint
    """The file as it was; of one file, different tests may know different contents."""
    names: tuple[str, ...]

    @property
    def facts(self) -> Iterator[Fact]:
        for name in self.names:
            kind, _, qualname = name.partition(":")
            key = block_key(self.path, qualname) if kind == Kind.BLOCK else f"{kind}:{self.path}"
            yield Fact(key, self.content)


class Collected(NamedTuple):
    """A module as it was collected once."""

    facts: tuple[Fact, ...]
    """What the list of its tests depends on beside source files."""
    listed: tuple[SourceFacts, ...]
    """What the list depends on of these."""
    standing: tuple[SourceFacts, ...]
    """What the tests depend on besides."""
    tests: tuple[str, ...]
    """Node ids, without the module's path, of those that were selected."""
    located: tuple[str, ...]
    """Paths of the files in which its tests are defined: with these, the lines change that reports name."""

    @classmethod
    def of(
        cls, listed: Iterable[Fact], standing: Iterable[Fact], tests: Iterable[str], located: Iterable[str]
    ) -> Collected:
        """``listed``: all that the list depends on; ``standing``: all that the tests depend on."""
        listed = set(listed)
        others = tuple(sorted(fact for fact in listed if not _is_of_source(fact)))
        return cls(others, _by_file(listed), _by_file(set(standing) - listed), tuple(tests), tuple(located))

    def with_tests_on(self, facts: Iterable[Fact]) -> Collected:
        """The same list of tests, which depend on these."""
        return self._replace(standing=_by_file(set(facts).difference(self.list_facts)))

    @property
    def list_facts(self) -> Iterator[Fact]:
        """All that the list of its tests depends on."""
        yield from self.facts
        for source in self.listed:
            yield from source.facts


def pack(modules: Mapping[str, Collected]) -> bytes:
    """Modules by path, as bytes."""
    facts: dict[Fact, int] = {}
    files: dict[SourceFacts, int] = {}
    rows = {
        path: [
            _numbers(one.facts, facts),
            _numbers(one.listed, files),
            _numbers(one.standing, files),
            one.tests,
            one.located,
        ]
        for path, one in modules.items()
    }
    plain_facts = [[fact.key, fact.fingerprint.hex()] for fact in facts]
    plain_files = [[path, content.hex(), names] for path, content, names in files]
    document = json.dumps([_VERSION, plain_facts, plain_files, rows], separators=(",", ":"))
    return zlib.compress(document.encode("utf-8", "surrogatepass"), _LEVEL)


def unpack(data: bytes) -> dict[str, Collected]:
    """What :func:`pack` was given; :class:`CodecError` for anything that it did not write."""
    try:
        version, plain_facts, plain_files, rows = json.loads(zlib.decompress(data))
        if version != _VERSION:
            raise ValueError("written by another version")
        facts = [Fact(str(key), bytes.fromhex(value)) for key, value in plain_facts]
        files = [
            SourceFacts(str(path), bytes.fromhex(content), tuple(map(str, names)))
            for path, content, names in plain_files
        ]
        return {
            str(path): Collected(
                tuple(map(facts.__getitem__, own)),
                tuple(map(files.__getitem__, listed)),
                tuple(map(files.__getitem__, standing)),
                tuple(map(str, tests)),
                tuple(map(str, located)),
            )
            for path, (own, listed, standing, tests, located) in rows.items()
        }
    except (ValueError, TypeError, IndexError, AttributeError, RecursionError, zlib.error) as error:
        raise CodecError(f"damaged lists of tests: {error}") from error


def _numbers(values: Iterable[_Value], known: dict[_Value, int]) -> list[int]:
    return [known.setdefault(value, len(known)) for value in values]


def facts_of(sources: Iterable[SourceFacts], paths: Container[str]) -> Iterator[Fact]:
    """The facts of these files among them."""
    for source in sources:
        if source.path in paths:
            yield from source.facts


def _is_of_source(fact: Fact) -> bool:
    return fact.key.startswith(_OF_SOURCE)


def _by_file(facts: Iterable[Fact]) -> tuple[SourceFacts, ...]:
    """Those of source files."""
    found: dict[tuple[str, Fingerprint], list[str]] = {}
    for fact in filter(_is_of_source, facts):
        path, qualname = fact.place
        found.setdefault((path, fact.fingerprint), []).append(f"{fact.kind}:{qualname}")
    return tuple(SourceFacts(*file, tuple(sorted(names))) for file, names in sorted(found.items()))
