"""The world as it is now: is a fact that was recorded still true, and if not, how does it read today?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_perfcache.facts.digest import ABSENT, fingerprint
from pytest_perfcache.facts.stats import read_bytes
from pytest_perfcache.facts.surroundings import (
    environment_fingerprint,
    glob_fingerprint,
    listing_fingerprint,
    machine_fingerprint,
    stat_fingerprint,
    whole_environment,
)
from pytest_perfcache.model import Fact, Fingerprint, Kind, is_defaults, split_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_perfcache.facts.analyses import Analyses
    from pytest_perfcache.facts.distributions import Distributions
    from pytest_perfcache.facts.imports import ImportResolver
    from pytest_perfcache.facts.places import Places
    from pytest_perfcache.facts.reach import Reach
    from pytest_perfcache.facts.source import Analysis
    from pytest_perfcache.facts.stats import StatCache


class Same(NamedTuple):
    """The fact holds."""


class Changed(NamedTuple):
    """The fact holds no longer; ``how`` says it in a few words."""

    how: str


class Rebound(NamedTuple):
    """A module's skeleton holds, but for functions that were bound anew and for literal values.

    ``names``: functions that appeared, vanished or changed their signature. ``values``: constants ``NAME`` and
    attributes ``Class.name``. Both matter only to code that can see them.
    """

    path: str
    names: frozenset[str]
    values: frozenset[str] = frozenset()


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
        kept_analysis: Callable[[str], bytes | None] = lambda _: None,
    ) -> None:
        """``run``: the facts of the run itself (options, ini, plugins, interpreter), by key.

        ``old_source`` gives the bytes of a file's earlier content by fingerprint, None where it is gone;
        ``kept_analysis`` what an earlier run kept of :attr:`fresh_analyses`.
        """
        self.places = places
        self.stats = stats
        self.distributions = distributions
        self.imports = imports
        self.run = run
        self.old_source = old_source
        self.environ = environ
        self._states: dict[Fact, State] = {}
        self._kept_analysis = kept_analysis
        self._analyses: Analyses | None = None
        self._sources: dict[Fingerprint, bytes | None] = {}
        self._texts: dict[Fact, bytes] = {}
        self._reaches: dict[Rebound, Reach] = {}
        self._sieved: dict[tuple[Fingerprint, frozenset[bytes]], bool] = {}
        self._spoken: frozenset[str] | None = None

    def state(self, fact: Fact) -> State:
        found = self._states.get(fact)
        if found is None:
            found = self._states[fact] = self._compare(fact)
        return found

    def holds(self, facts: Iterable[Fact]) -> bool:
        """Whether all of these simply hold."""
        return all(isinstance(self.state(fact), Same) for fact in facts)

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
            case Kind.MACHINE:
                return machine_fingerprint()
            case _:
                return self.run.get(key, ABSENT)

    def reaches(self, rebound: Rebound, facts: Iterable[Fact]) -> str | None:
        """Why a record with these facts sees that something was bound anew, in words; None where it does not."""
        found = self._reaches.get(rebound)
        if found is None:
            from pytest_perfcache.facts.reach import Reach

            found = self._reaches[rebound] = Reach(rebound, self)
        return found.to(facts)

    def mentions(self, fact: Fact, words: frozenset[bytes]) -> frozenset[str] | None:
        """What the code of a source fact mentions; None where that is not known.

        Empty where the file holds none of the words and nothing that looks names up by computed texts.
        """
        path, qualname = fact.place
        source = self._source(fact.fingerprint, path)
        if source is None:
            return None
        if not self._may_mention(fact.fingerprint, source, words):
            return frozenset()
        analysis = self._analysis(fact.fingerprint, path)
        if analysis is None:
            return None
        if fact.kind is Kind.SOURCE:
            return analysis.all_mentions
        if is_defaults(qualname):
            return analysis.mentions.get(qualname, frozenset())
        block = analysis.block_of(qualname)
        return None if block is None else analysis.mentions[block]

    def text(self, fact: Fact) -> bytes:
        """The content of a file that is still what it was; empty where there is none."""
        if fact not in self._texts:
            source = None if fact.fingerprint == ABSENT else self._read(fact.fingerprint, fact.name)
            self._texts[fact] = source or b""
        return self._texts[fact]

    @property
    def fresh_analyses(self) -> Mapping[str, bytes]:
        """What is worth keeping of the source files that were analysed, by name."""
        return {} if self._analyses is None else self._analyses.fresh

    def environment(self) -> frozenset[str]:
        """What the values of environment variables mention."""
        from pytest_perfcache.facts.texts import modules_in_texts

        if self._spoken is None:
            self._spoken = frozenset(modules_in_texts(self.environ.values()))
        return self._spoken

    def _may_mention(self, content: Fingerprint, source: bytes, words: frozenset[bytes]) -> bool:
        """A sieve over the text, so that few files are parsed."""
        key = (content, words)
        if key not in self._sieved:
            from pytest_perfcache.facts.mentions import reflective_text

            self._sieved[key] = any(word in source for word in words) or reflective_text(source)
        return self._sieved[key]

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
        path, qualname = fact.place
        before, after = self._analysis(fact.fingerprint, path), self._analysis(now, path)
        if before is None or after is None:
            return Changed("changed" if before is None else "not valid Python")
        if fact.kind is Kind.BLOCK:
            return _compare_blocks(before, after, qualname)
        if before.skeleton != after.skeleton:
            return Changed("changed")
        return self._rebound(path, before, after)

    def _rebound(self, path: str, before: Analysis, after: Analysis) -> State:
        """What differs where the skeleton does not."""
        from pytest_perfcache.facts.inheritance import Inheritance
        from pytest_perfcache.facts.places import is_test_file
        from pytest_perfcache.facts.source import changed_bindings, changed_values

        names, values = changed_bindings(before, after), changed_values(before, after)
        if values and (is_test_file(path) or not Inheritance(self._present).is_plain(path, before, values)):
            return Changed("changed")
        return Rebound(path, names, values) if names or values else _SAME

    def _present(self, path: str) -> Analysis | None:
        """A project file as it is now."""
        content = self.stats.content(path)
        return None if content == ABSENT else self._analysis(content, path)

    def _analysis(self, content: Fingerprint, path: str) -> Analysis | None:
        if self._analyses is None:
            from pytest_perfcache.facts.analyses import Analyses

            self._analyses = Analyses(self._kept_analysis)
        return self._analyses.of(content, lambda: self._source(content, path))

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
    if is_defaults(qualname):
        return _SAME if before.values.get(qualname) == after.values.get(qualname) else Changed("changed")
    block = before.block_of(qualname)
    if block is None:
        return Changed("changed")
    if not block:
        return _SAME
    now = after.blocks.get(block)
    if now is None:
        return Changed("gone")
    return _SAME if now == before.blocks[block] else Changed("changed")
