"""What is known before anything is collected: the memory, the verdicts of all tests, and what will probably run."""

from __future__ import annotations

import fnmatch
import os
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from pytest_perfcache.collect.known import Known
from pytest_perfcache.facts.places import Places, is_virtual_environment
from pytest_perfcache.facts.world import World
from pytest_perfcache.model import Fingerprint, Kind, Outcome, Verdict
from pytest_perfcache.run.circumstances import Circumstances
from pytest_perfcache.run.collecting import is_test_module
from pytest_perfcache.run.config import facts_of_run, is_named, settings_of
from pytest_perfcache.run.costs import read_setups
from pytest_perfcache.run.deciding import plan_everything
from pytest_perfcache.run.describing import Knowledge
from pytest_perfcache.run.faults import PerfcacheWarning
from pytest_perfcache.run.memory import Memory, open_store
from pytest_perfcache.run.standing import known_modules
from pytest_perfcache.schedule.jobs import Job
from pytest_perfcache.schedule.meta import plain_meta
from pytest_perfcache.store.protocol import Store

_STORE: Final = pytest.StashKey[Store]()
_OUTLOOK: Final = pytest.StashKey["Outlook"]()
_WORLD: Final = pytest.StashKey[World]()
_TEST: Final = re.compile(rb"^[ \t]*(?:async[ \t]+)?def[ \t]+test", re.MULTILINE)
_WORD: Final = re.compile(r"\w+")


class Outlook(NamedTuple):
    """The plan of a run before its collection."""

    memory: Memory
    circumstances: Circumstances
    known: Known
    """The modules that need not be collected."""
    verdicts: Mapping[str, Verdict]
    """Of the tests of the other modules."""

    def knowledge(self) -> Knowledge:
        return Knowledge.of(
            self.memory.planner.histories(),
            self.verdicts,
            read_setups(self.memory.store),
            only_marked=self.memory.settings.parallel == "marked",
        )


class Expected(NamedTuple):
    """What will probably run. ``sure``: no test file is new or changed, so that only parameters could surprise."""

    jobs: list[Job]
    sure: bool


def store_of(config: pytest.Config) -> Store:
    """Opened once a session, and emptied where that is asked for."""
    if _STORE not in config.stash:
        settings = settings_of(config)
        store = open_store(settings, lambda text: warnings.warn(PerfcacheWarning(text), stacklevel=2))
        if settings.clear or any(getattr(options, "cacheclear", False) for options in _options(config)):
            store.clear()
        config.stash[_STORE] = store
    return config.stash[_STORE]


def _options(config: pytest.Config) -> tuple[object, ...]:
    """What the command line says, before conftest files are loaded and after."""
    return config.known_args_namespace, config.option


def open_memory(
    config: pytest.Config, places: Places, environ: Mapping[str, str], run: Mapping[str, Fingerprint] | None = None
) -> Memory:
    """A memory for the facts of this run, or for those that it will probably have."""
    facts = facts_of_run(config, environ) if run is None else run
    earlier = config.stash.get(_WORLD, None)
    memory = Memory.open(settings_of(config), places, facts, environ, store_of(config), earlier=earlier)
    config.stash[_WORLD] = memory.world
    return memory


def look_ahead(config: pytest.Config, environ: Mapping[str, str]) -> Outlook:
    """Decide on everything that is known; again only when the facts of the run are other ones by now."""
    made = config.stash.get(_OUTLOOK, None)
    if made is not None and made.memory.world.run == facts_of_run(config, environ):
        return made
    places = Places.of(config.rootpath)
    memory = open_memory(config, places, environ)
    circumstances = Circumstances.of(config, places, now=time.time(), settings=settings_of(config))
    known = known_modules(memory, config, circumstances)
    unneeded = known._replace(
        modules={path: module for path, module in known.modules.items() if not module.marked_late}
    )
    verdicts = plan_everything(memory.planner, circumstances, unneeded.modules)
    config.stash[_OUTLOOK] = Outlook(memory, circumstances, unneeded, verdicts)
    return config.stash[_OUTLOOK]


def expect(config: pytest.Config, outlook: Outlook) -> Expected:
    """What the arguments select and the verdicts let run, and what new or changed test files seem to hold.

    Markers (``-m``) and expressions of several words (``-k``) are not understood here: then it is too much.
    """
    places, planner = outlook.memory.world.places, outlook.memory.planner
    selected = _Selection.of(config, places)
    histories = planner.histories()
    nodeids = [nodeid for nodeid in histories if selected.takes(nodeid)]
    failed = [nodeid for nodeid in nodeids if histories[nodeid].last is Outcome.FAILED]
    only_failed = bool(getattr(config.option, "lf", False) and failed)
    runs = [nodeid for nodeid in (failed if only_failed else nodeids) if not outlook.verdicts[nodeid].hit]
    unknown: list[str] = []
    sure = True
    for path in test_files(config, selected.paths, places):
        if path not in outlook.known.modules and not _is_unchanged(path, outlook):
            sure = False
            more = 0 if only_failed else _count_tests(places.root / path) - planner.count(path)
            unknown += (f"{path}::unknown {number}" for number in range(more))
    jobs = outlook.knowledge().describe([plain_meta(nodeid) for nodeid in (*runs, *unknown)])
    return Expected(jobs, sure)


class _Selection(NamedTuple):
    """What the command line selects: paths and node ids from the root, and perhaps one word of ``-k``."""

    paths: tuple[str, ...]
    named: tuple[str, ...]
    word: str

    @classmethod
    def of(cls, config: pytest.Config, places: Places) -> _Selection:
        split = [argument.partition("::") for argument in config.args]
        base = config.invocation_params.dir
        found = [(places.relative(str(Path(base, path))), rest) for path, _, rest in split]
        keyword = str(getattr(config.option, "keyword", "") or "").strip()
        word = keyword.lower() if _WORD.fullmatch(keyword) else ""
        return cls(
            tuple(path for path, rest in found if not rest),
            tuple(f"{path}::{rest}" for path, rest in found if rest),
            word,
        )

    def takes(self, nodeid: str) -> bool:
        if self.word and self.word not in nodeid.lower():
            return False
        return is_named(nodeid, self.named) or any(_lies_in(nodeid.partition("::")[0], path) for path in self.paths)


def _lies_in(path: str, directory: str) -> bool:
    return directory in (".", path) or path.startswith(f"{directory}/")


def test_files(config: pytest.Config, bases: Iterable[str], places: Places) -> Iterator[str]:
    """Paths, from the root, of the files in these directories that pytest would take for test modules."""
    for name in bases:
        base = os.path.join(places.root, name)
        if os.path.isfile(base) and base.endswith(".py"):
            yield name
        patterns = config.getini("python_files")
        for directory, below, files in os.walk(base):
            below[:] = [name for name in below if not _is_left_out(config, directory, name)]
            yield from (
                places.relative(os.path.join(directory, file)) for file in files if is_test_module(file, patterns)
            )


def _is_left_out(config: pytest.Config, directory: str, name: str) -> bool:
    if name == "__pycache__" or is_virtual_environment(os.path.join(directory, name)):
        return True
    return any(fnmatch.fnmatch(name, pattern) for pattern in config.getini("norecursedirs"))


def _is_unchanged(path: str, outlook: Outlook) -> bool:
    """Whether the file is what it was when a test of it was recorded."""
    recorded = outlook.memory.planner.fingerprints(path, (f"{Kind.SKELETON}:{path}", f"{Kind.SOURCE}:{path}"))
    return outlook.memory.stats.content(path) in recorded


def _count_tests(path: Path) -> int:
    try:
        return len(_TEST.findall(path.read_bytes()))
    except OSError:  # it is gone again; then it holds no test
        return 0
