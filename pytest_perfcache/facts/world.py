"""The world as it is now: is a fact that was recorded still true, and if not, how does it read today?"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pytest_perfcache.facts.digest import ABSENT, fingerprint, fingerprint_all, fingerprint_text
from pytest_perfcache.facts.distributions import Distributions
from pytest_perfcache.facts.imports import ImportResolver
from pytest_perfcache.facts.places import Places
from pytest_perfcache.facts.source import Analysis, analyse, changed_bindings, may_mention, mentioned
from pytest_perfcache.facts.stats import StatCache
from pytest_perfcache.model import Fact, Fingerprint, Kind, split_block


@dataclass(frozen=True, slots=True)
class Same:
    """The fact holds."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The fact holds no longer; ``how`` says it in a few words."""

    how: str


@dataclass(frozen=True, slots=True)
class Rebound:
    """A module's skeleton holds, but for functions (``names``) that appeared, vanished or changed their signature.

    That matters only to code that mentions one of them.
    """

    names: frozenset[str]


State = Same | Changed | Rebound
_SAME = Same()


@dataclass(slots=True)
class World:
    """Looks things up lazily and once; cheap where nothing changed.

    ``old_source`` gives the bytes of a file's earlier content by fingerprint, None where it is gone.
    """

    places: Places
    stats: StatCache
    distributions: Distributions
    imports: ImportResolver
    run: Mapping[str, Fingerprint]
    """The facts of the run itself (options, ini, plugins, interpreter), by key."""
    old_source: Callable[[Fingerprint], bytes | None]
    environ: Mapping[str, str]
    _states: dict[Fact, State] = field(default_factory=dict)
    _analyses: dict[Fingerprint, Analysis | None] = field(default_factory=dict)
    _sources: dict[Fingerprint, bytes | None] = field(default_factory=dict)

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
            case _:
                return self.run.get(key, ABSENT)

    def mention(self, fact: Fact, names: frozenset[str]) -> str | None:
        """The first of ``names`` that the code of a source fact could look up, or None."""
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
            data = (self.places.root / path).read_bytes()
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


def environment_fingerprint(value: str | None) -> Fingerprint:
    return ABSENT if value is None else fingerprint_text(value)


VOLATILE_VARIABLES = frozenset(
    """
    _ PERFCACHE_CHILD COLUMNS LINES OLDPWD PWD SHLVL PYTEST_CURRENT_TEST PYTEST_VERSION PYTEST_XDIST_WORKER
    PYTEST_XDIST_WORKER_COUNT PYTEST_XDIST_TESTRUNUID SSH_AUTH_SOCK SSH_CLIENT SSH_CONNECTION SSH_TTY
    TERM_SESSION_ID WINDOWID XDG_SESSION_ID INVOCATION_ID JOURNAL_STREAM DBUS_SESSION_BUS_ADDRESS TMUX TMUX_PANE STY
    GITHUB_RUN_ID GITHUB_RUN_NUMBER GITHUB_RUN_ATTEMPT GITHUB_SHA CI_JOB_ID CI_PIPELINE_ID CI_COMMIT_SHA
    BUILD_NUMBER BUILD_ID
    """.split()
)
"""Names left out when a test looks at the whole environment: they change from run to run by their nature."""


def whole_environment(environ: Mapping[str, str]) -> Fingerprint:
    kept = (f"{name}={value}" for name, value in sorted(environ.items()) if name not in VOLATILE_VARIABLES)
    return fingerprint_all(kept)


def listing_fingerprint(places: Places, name: str) -> Fingerprint:
    """The names in a directory; caches that a run itself makes are left out."""
    try:
        names = sorted(os.listdir(places.root / name))
    except OSError:
        return ABSENT
    return fingerprint_all(name for name in names if name not in _MADE_BY_RUNS)


def glob_fingerprint(places: Places, pattern: str, content: Callable[[str], Fingerprint]) -> Fingerprint:
    """The files that match a pattern from the root, and what is in them."""
    names = sorted(places.relative(str(path)) for path in places.root.glob(pattern) if path.is_file())
    return fingerprint_all(part for name in names for part in (name, content(name).hex()))


_MADE_BY_RUNS = frozenset(("__pycache__", ".pytest_cache", ".perfcache", ".hypothesis", ".coverage", ".testmondata"))


def stat_fingerprint(places: Places, name: str) -> Fingerprint:
    """What ``os.stat`` tells that another checkout would tell too: kind, mode and, for files, the size."""
    path = places.root / name
    try:
        found = os.lstat(path)
    except OSError:
        return ABSENT
    link = os.readlink(path) if stat.S_ISLNK(found.st_mode) else ""
    try:
        target = os.stat(path) if link else found
    except OSError:
        return fingerprint_text(f"dangling {link}")
    is_file = stat.S_ISREG(target.st_mode)
    return fingerprint_all((oct(target.st_mode), str(target.st_size) if is_file else "", link))
