"""The world as it is now: is a fact that was recorded still true, and if not, how does it read today?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_perfcache.facts.digest import ABSENT, fingerprint
from pytest_perfcache.facts.stats import read_bytes
from pytest_perfcache.facts.surroundings import (
    environment_fingerprint,
    glob_fingerprint,
    listing_fingerprint,
    stat_fingerprint,
    whole_environment,
)
from pytest_perfcache.model import Fact, Fingerprint, Kind, split_block

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_perfcache.facts.distributions import Distributions
    from pytest_perfcache.facts.imports import ImportResolver
    from pytest_perfcache.facts.places import Places
    from pytest_perfcache.facts.source import Analysis
    from pytest_perfcache.facts.stats import StatCache


class Same(NamedTuple):
    """The fact holds."""


class Changed(NamedTuple):
    """The fact holds no longer; ``how`` says it in a few words."""

    how: str


class Rebound(NamedTuple):
    """A module's skeleton holds, but for functions (``names``) that appeared, vanished or changed their signature.

    That matters only to code that mentions one of them.
    """

    names: frozenset[str]


State = Same | Changed | Rebound
_SAME = Same()


class World:
    """Looks things up lazily and once; cheap where nothing changed: only then the syntax of files matters."""

    def __init__(
        self,
        *,
        places: Places,
        stats: StatCache,
        distributions: Distributions,
        imports: ImportResolver,
        run: Mapping[str, Fingerprint],
        old_source: Callable[[Fingerprint], bytes | None],
        environ: Mapping[str, str],
    ) -> None:
        """``run``: the facts of the run itself (options, ini, plugins, interpreter), by key.

        ``old_source`` gives the bytes of a file's earlier content by fingerprint, None where it is gone.
        """
        self.places = places
        self.stats = stats
        self.distributions = distributions
        self.imports = imports
        self.run = run
        self.old_source = old_source
        self.environ = environ
        self._states: dict[Fact, State] = {}
        self._analyses: dict[Fingerprint, Analysis | None] = {}
        self._sources: dict[Fingerprint, bytes | None] = {}

    def state(self, fact: Fact) -> State:
        found = self._states.get(fact)
        if found is None:
            found = self._states[fact] = self._compare(fact)
        return found

    def fingerprint(self, key: str) -> Fingerprint:
        """A fact's fingerprint now; ``ABSENT`` where the thing is not there."""
        kind, _, name = key.partition(":")
        match Kind(kind):
            case Kind.SKELETON | Kind.SOURCE | Kind.FILE:
                return self.stats.content(name)
            case Kind.BLOCK:
                return self.stats.content(split_block(name)[0])
            case Kind.DIRECTORY:
                return listing_fingerprint(self.places, name)
            case Kind.GLOB:
                return glob_fingerprint(self.places, name, self.stats.content)
            case Kind.STAT:
                return stat_fingerprint(self.places, name)
            case Kind.ENVIRONMENT:
                return environment_fingerprint(self.environ.get(name))
            case Kind.ENVIRONMENT_NAMES:
                return whole_environment(self.environ)
            case Kind.IMPORT:
                return self.imports.fingerprint(name)
            case Kind.DISTRIBUTION:
                return self.distributions.fingerprint(name)
            case Kind.ENTRY_POINTS:
                return self.distributions.entry_points(name)
            case _:
                return self.run.get(key, ABSENT)

    def mention(self, fact: Fact, names: frozenset[str]) -> str | None:
        """The first of ``names`` that the code of a source fact could look up, or None."""
        from pytest_perfcache.facts.source import may_mention, mentioned

        path = split_block(fact.name)[0] if fact.kind is Kind.BLOCK else fact.name
        source = self._source(fact.fingerprint, path)
        if source is not None and not may_mention(source, names):
            return None
        analysis = self._analysis(fact.fingerprint, path)
        block: str | None = ""
        if analysis is not None and fact.kind is Kind.BLOCK:
            block = analysis.block_of(split_block(fact.name)[1])
        if analysis is None or block is None:
            return min(names)
        return mentioned(names, analysis.mentions[block])

    def _compare(self, fact: Fact) -> State:
        now = self.fingerprint(fact.key)
        if now == fact.fingerprint:
            return _SAME
        if now == ABSENT:
            return Changed("gone")
        if fact.fingerprint == ABSENT:
            return Changed("appeared")
        if fact.kind in (Kind.SKELETON, Kind.BLOCK):
            return self._compare_source(fact, now)
        return Changed("changed")

    def _compare_source(self, fact: Fact, now: Fingerprint) -> State:
        from pytest_perfcache.facts.source import changed_bindings

        path, qualname = split_block(fact.name) if fact.kind is Kind.BLOCK else (fact.name, "")
        before, after = self._analysis(fact.fingerprint, path), self._analysis(now, path)
        if before is None or after is None:
            return Changed("changed" if before is None else "not valid Python")
        if fact.kind is Kind.BLOCK:
            return _compare_blocks(before, after, qualname)
        if before.skeleton != after.skeleton:
            return Changed("changed")
        names = changed_bindings(before, after)
        return Rebound(names) if names else _SAME

    def _analysis(self, content: Fingerprint, path: str) -> Analysis | None:
        if content not in self._analyses:
            from pytest_perfcache.facts.source import analyse

            source = self._source(content, path)
            self._analyses[content] = None if source is None else analyse(source)
        return self._analyses[content]

    def _source(self, content: Fingerprint, path: str) -> bytes | None:
        if content not in self._sources:
            self._sources[content] = self._read(content, path)
        return self._sources[content]

    def _read(self, content: Fingerprint, path: str) -> bytes | None:
        if self.stats.content(path) != content:
            return self.old_source(content)
        try:
            data = read_bytes(self.places.full(path))
        except OSError:
            return None
        return data if fingerprint(data) == content else None


def _compare_blocks(before: Analysis, after: Analysis, qualname: str) -> State:
    block = before.block_of(qualname)
    if block is None:
        return Changed("changed")
    if not block:
        return _SAME
    now = after.blocks.get(block)
    if now is None:
        return Changed("gone")
    return _SAME if now == before.blocks[block] else Changed("changed")
