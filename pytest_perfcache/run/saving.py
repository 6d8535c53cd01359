"""From what tests left to stored records: facts with fingerprints, merged with what was known."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from itertools import chain
from typing import Final

from pytest_perfcache.decide.learn import learn
from pytest_perfcache.facts.digest import fingerprint
from pytest_perfcache.facts.distributions import Distributions
from pytest_perfcache.facts.imports import ImportResolver, import_name
from pytest_perfcache.facts.places import Places
from pytest_perfcache.facts.stats import Signature, StatCache
from pytest_perfcache.model import (
    Fact,
    Fingerprint,
    History,
    Kind,
    ModuleRecords,
    Outcome,
    Record,
    Told,
    Trace,
    block_key,
    distinct_groups,
)
from pytest_perfcache.run.planning import RECORDS, SOURCE, decode_or_empty, pack_source, source_key
from pytest_perfcache.run.recording import DECIDED, Run
from pytest_perfcache.store.protocol import Store
from pytest_perfcache.store.records import encode
from pytest_perfcache.trace.modules import Module
from pytest_perfcache.trace.tracing import Tracing
from pytest_perfcache.trace.unit import Touched, numbers_in

_SKELETON: Final = f"{Kind.SKELETON}:"


class Harvest:
    """Turns the runs of this process into histories of one run each. Made once, after the last test.

    With ``inputs`` of one's own it only tells facts, at any time, and others see to it that nothing moved.
    """

    def __init__(
        self,
        tracing: Tracing,
        distributions: Distributions,
        now: Callable[[], float] = time.time,
        inputs: Mapping[str, Fingerprint] | None = None,
    ) -> None:
        self._tracing = tracing
        self._given = inputs
        self._distributions = distributions
        self._now = now
        self._modules = cache(self._module_facts)
        self._blocks = cache(self._block_fact)
        self._loaded = 0
        self._at_import = cache(self._import_blocks)
        self._used = cache(self._input_facts)
        self._moved_modules = cache(self._first_moved)
        self._moved_inputs = cache(self._first_lost)
        self._imports = cache(self._import_facts)
        self._owned = cache(self._owners)
        self._distributed = cache(self._distribution_facts)
        self._searched = cache(self._search_facts)
        self._resolver = ImportResolver(tracing.places)
        self._entries = self._resolver.project_entries()
        self._facts: dict[Fact, Fact] = {}

    def gather(self, runs: Iterable[Run]) -> list[ModuleRecords]:
        """By module; a test whose inputs moved while it ran keeps no record, and says so."""
        found: dict[str, dict[str, History]] = defaultdict(dict)
        for run in runs:
            found[run.path][run.nodeid] = self._history(run)
        return [ModuleRecords(path, tests) for path, tests in found.items()]

    def facts(self, touched: Touched) -> tuple[Fact, ...] | None:
        """What a collection depended on; None where that can not be tracked or moved meanwhile."""
        return None if touched.untracked or self._moved_among(touched) else tuple(self._trace(touched))

    def _history(self, run: Run) -> History:
        untracked = run.touched.untracked
        if not untracked and run.recorded:
            moved = self._moved_among(run.touched)
            if not moved:
                record = Record(self._trace(run.touched), run.outcome is Outcome.PASSED, self._now(), run.told)
                return History(records=(record,), duration=run.duration, last=run.outcome)
            untracked = f"{moved} changed while the tests ran"
        return History(duration=run.duration, last=run.outcome, untracked=untracked)

    def _moved_among(self, touched: Touched) -> str:
        """The first thing that is not what it was when it was used; empty where all is."""
        return self._moved_modules(touched.modules) or self._moved_inputs(touched.inputs)

    def _first_moved(self, mask: int) -> str:
        paths = (self._tracing.modules.by_number[number].path for number in numbers_in(mask))
        return next((path for path in paths if path in self.moved), "")

    def _first_lost(self, keys: frozenset[str]) -> str:
        return next((key for key in keys if key not in self._inputs), "")

    def _trace(self, touched: Touched) -> Trace:
        groups, own = self.split(touched)
        return Trace(tuple(own), groups)

    def split(self, touched: Touched) -> tuple[tuple[tuple[Fact, ...], ...], list[Fact]]:
        """The facts of a test: groups that many tests share, each made once, and the others."""
        loaded = len(self._tracing.modules.by_number)
        if loaded != self._loaded:  # one of them again, perhaps with another content
            self._loaded = loaded
            self._blocks.cache_clear()
            self._at_import.cache_clear()
        shared = (
            self._modules(touched.modules),
            self._at_import(touched.at_import),
            self._used(touched.inputs),
            self._imports(self._tracing.modules.imported(touched)),
        )
        return shared, [*map(self._blocks, touched.ran), *self._line_facts(touched)]

    def _line_facts(self, touched: Touched) -> Iterator[Fact]:
        """Code that looks at line numbers depends on all of the files whose functions ran, and that it imports; what is
        told of a line in a file, on that."""
        codes, modules = self._tracing.recorder.codes, self._tracing.modules
        lookers = codes.looks_at_lines & touched.at_import | codes.looks_at_lines.intersection(touched.ran)
        paths = {codes.names[number][0] for number in touched.blocks} if lookers else set()
        for number in lookers:
            paths |= modules.directly(codes.names[number][0])
        for path in sorted(paths | touched.located):
            yield self._fact(f"{Kind.SOURCE}:{path}", modules.content(path))

    def _import_blocks(self, numbers: frozenset[int]) -> tuple[Fact, ...]:
        return tuple(map(self._blocks, sorted(numbers)))

    def _block_fact(self, number: int) -> Fact:
        path, qualname = self._tracing.recorder.codes.names[number]
        return self._fact(block_key(path, qualname), self._tracing.modules.content(path))

    def _input_facts(self, keys: frozenset[str]) -> tuple[Fact, ...]:
        return tuple(self._fact(key, self._inputs[key]) for key in keys)

    def _module_facts(self, mask: int) -> tuple[Fact, ...]:
        modules = (self._tracing.modules.by_number[number] for number in numbers_in(mask))
        return tuple(map(self._module_fact, modules))

    def _module_fact(self, module: Module) -> Fact:
        kind = Kind.SOURCE if module.coarse else Kind.SKELETON
        return self._fact(f"{kind}:{module.path}", module.content)

    def _import_facts(self, names: frozenset[str]) -> tuple[Fact, ...]:
        """Where each imported name comes from, and what the installed ones hold."""
        closure = frozenset[str]().union(*map(self._owned, names))
        facts = self._distributed(closure)
        return (*facts, *chain.from_iterable(map(self._searched, sorted(names))))

    def _owners(self, name: str) -> frozenset[str]:
        """The distributions that a top-level name stands on."""
        owners = self._distributions.owners(name)
        return frozenset(chain.from_iterable(map(self._distributions.closure, owners)))

    def _distribution_facts(self, names: frozenset[str]) -> tuple[Fact, ...]:
        prints = self._distributions.fingerprint
        return tuple(self._fact(f"{Kind.DISTRIBUTION}:{name}", prints(name)) for name in sorted(names))

    def _search_facts(self, name: str) -> tuple[Fact, ...]:
        found = dict.fromkeys(self._searches(name))
        return tuple(self._fact(f"{Kind.IMPORT}:{full}", self._resolver.fingerprint(full)) for full in found)

    def _searches(self, name: str) -> Iterator[str]:
        """Where a name is looked for: on the path as it is now, and as it was then where that tells another place."""
        now = import_name(name, self._entries)
        yield now
        for path in self._tracing.modules.searched.get(name.partition(".")[0], ()):
            entries = self._resolver.project_entries(path)
            then = import_name(name, entries)
            if not _is_part(entries, self._entries) or self._resolver.fingerprint(then) != self._resolver.fingerprint(
                now
            ):
                yield then

    def _fact(self, key: str, found: Fingerprint) -> Fact:
        fact = Fact(key, found)
        return self._facts.setdefault(fact, fact)

    @cached_property
    def _inputs(self) -> Mapping[str, Fingerprint]:
        return self._tracing.inputs.settle() if self._given is None else self._given

    @cached_property
    def moved(self) -> frozenset[str]:
        """Modules whose file is not what it was when it was loaded."""
        root = self._tracing.places.root
        return frozenset(
            module.path
            for module in self._tracing.modules.standing()
            if module.signature is None or Signature.of(root / module.path) != module.signature
        )


def _is_part(some: Iterable[str], all_of_them: Iterable[str]) -> bool:
    """Whether these stand among the others in the same order."""
    others = iter(all_of_them)
    return all(one in others for one in some)


def merge(
    store: Store,
    fresh: Iterable[ModuleRecords],
    *,
    run: Mapping[str, Fingerprint],
    contradicts: Callable[[str, str, bool, Told | None], bool],
    flaky_passes: int,
) -> dict[str, dict[str, History]]:
    """Add new histories to the store, one module at a time and nobody else's lost; return what they are now.

    ``run``: the facts of the run itself, which every record depends on.
    """
    extra = tuple(Fact(key, value) for key, value in run.items())
    fresh = list(fresh)
    with store.transaction():
        known = store.get_many([RECORDS + module.path for module in fresh])
        merged: dict[str, dict[str, History]] = {}
        for module in fresh:
            before = known.get(RECORDS + module.path)
            tests = merged.setdefault(module.path, dict(decode_or_empty(module.path, before).tests))
            for nodeid, history in module.tests.items():
                records = tuple(
                    record._replace(facts=Trace(record.facts.own, (*record.facts.shared, extra)))
                    for record in history.records
                )
                told = next((record.told for record in records), None)
                decided = told is not None or history.last in DECIDED
                passed = history.last is Outcome.PASSED
                contradicted = decided and contradicts(module.path, nodeid, passed, told)
                tests[nodeid] = learn(
                    tests.get(nodeid),
                    history._replace(records=records),
                    contradicted=contradicted,
                    flaky_passes=flaky_passes,
                )
        store.set_many({RECORDS + path: encode(ModuleRecords(path, tests)) for path, tests in merged.items()})
    return merged


def save_sources(
    store: Store,
    fresh: Iterable[ModuleRecords],
    collected: Iterable[Iterable[Fact]],
    places: Places,
    stats: StatCache,
) -> None:
    """Keep each source file's content as it was when it was used: what changed is found by comparing with it.

    ``collected``: what the lists of tests depend on.
    """
    histories = chain.from_iterable(module.tests.values() for module in fresh)
    records = (record for history in histories for record in history.records)
    groups = distinct_groups(Trace((), record.facts.shared) for record in records)  # where modules always are
    facts = set[Fact]().union(*groups, *collected)
    wanted = {source_key(fact.fingerprint): fact for fact in facts if fact.key.startswith(_SKELETON)}
    added: dict[str, bytes] = {}
    for key in wanted.keys() - set(store.keys(SOURCE)):
        path, content = wanted[key].name, wanted[key].fingerprint
        signature = Signature.of(places.root / path)
        source = (places.root / path).read_bytes() if signature else b""
        if signature is not None and fingerprint(source) == content:
            added[key] = pack_source(source)
            stats.learn(path, signature, content)
    store.set_many(added)
