"""The controller's memory: the store with everything that is kept in it, opened and saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pytest_perfcache.facts.distributions import Distributions
from pytest_perfcache.facts.imports import ImportResolver
from pytest_perfcache.facts.places import Places
from pytest_perfcache.facts.stats import StatCache
from pytest_perfcache.facts.world import World
from pytest_perfcache.model import Fingerprint, History, ModuleRecords, Verdict
from pytest_perfcache.run.planning import Planner, source_key, unpack_source
from pytest_perfcache.run.settling import Chosen, Collection, settle
from pytest_perfcache.settings import Settings
from pytest_perfcache.store.protocol import Store

_STATS: Final = "stats"
_ANALYSES: Final = "analyses/"
_MEMORY_BYTES: Final = 64_000_000
_KEEP: Final = 4
"""An entry that nobody wrote for this many times the records' life is rubbish."""


class Memory:
    """What the controller needs to decide and to remember. ``fresh``: what this run learnt, once it was saved."""

    def __init__(self, store: Store, stats: StatCache, world: World, planner: Planner, settings: Settings) -> None:
        self.store = store
        self.stats = stats
        self.world = world
        self.planner = planner
        self.settings = settings
        self.fresh: list[ModuleRecords] = []

    @classmethod
    def open(
        cls,
        settings: Settings,
        places: Places,
        run: Mapping[str, Fingerprint],
        environ: Mapping[str, str],
        store: Store,
        *,
        earlier: World | None = None,
    ) -> Memory:
        """A memory that has looked at nothing yet, but for what was installed where there is an ``earlier`` world."""
        if earlier is None:
            stats = StatCache(places.root)
            stats.load(store.get(_STATS))
        else:
            stats = earlier.stats
            stats.forget()
        world = World(
            places=places,
            stats=stats,
            distributions=Distributions() if earlier is None else earlier.distributions.elsewhere(),
            imports=ImportResolver(places),
            run=run,
            old_source=lambda content: unpack_source(store.get(source_key(content))),
            environ=environ,
            kept_analysis=lambda name: store.get(_ANALYSES + name),
        )
        return cls(store, stats, world, Planner(store, world), settings)

    def save(
        self,
        fresh: Iterable[ModuleRecords],
        collections: Iterable[Collection],
        verdicts: Mapping[str, Verdict],
        chosen: Chosen,
    ) -> None:
        """Merge what this run learnt. Call once, at the end."""
        fresh, collections = list(fresh), list(collections)
        self.fresh.extend(fresh)
        if fresh or collections:
            from pytest_perfcache.run.saving import save_sources

            collected = [collection.facts for collection in collections]
            save_sources(self.store, fresh, collected, self.world.places, self.stats)
        if fresh or collections or self.planner.upheld:
            with self.store.transaction():
                learnt = self._merge(fresh)
                settle(
                    self.planner,
                    self.store,
                    self.world,
                    collections=collections,
                    learnt=learnt,
                    ran=fresh,
                    verdicts=verdicts,
                    chosen=chosen,
                )
        if self.world.fresh_analyses:
            self.store.set_many({_ANALYSES + name: data for name, data in self.world.fresh_analyses.items()})
        if self.stats.changed:
            self.store.set(_STATS, self.stats.dump())

    def _merge(self, fresh: Sequence[ModuleRecords]) -> dict[str, dict[str, History]]:
        from pytest_perfcache.run.saving import merge

        return merge(
            self.store,
            fresh,
            run=self.world.run,
            contradicts=self.planner.contradicts,
            flaky_passes=self.settings.flaky_passes,
        )

    def close(self) -> None:
        self.store.close()


def open_store(settings: Settings, warn: Callable[[str], None]) -> Store:
    """Memory over the project's disk; memory alone, with a warning, where the directory cannot be made."""
    from pytest_perfcache.store.directory import prepare_directory
    from pytest_perfcache.store.disk import DiskStore
    from pytest_perfcache.store.memory import MemoryStore
    from pytest_perfcache.store.safe import SafeStore
    from pytest_perfcache.store.tiers import TieredStore

    memory = MemoryStore(_MEMORY_BYTES)
    try:
        directory = prepare_directory(settings.dir)
    except OSError as error:
        warn(f"pytest-perfcache remembers nothing in this run: {settings.dir} can not be used ({error})")
        return memory
    disk = DiskStore(directory, settings.size_limit, _KEEP * settings.ttl)
    return TieredStore(memory, SafeStore(disk, warn))
