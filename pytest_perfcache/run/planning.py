"""From the store and the world to verdicts: loads each module's records once and decides test by test."""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from pytest_perfcache.decide.settled import Upheld
from pytest_perfcache.decide.verify import Changes, Conditions, decide
from pytest_perfcache.errors import CodecError
from pytest_perfcache.facts.world import World
from pytest_perfcache.model import Fingerprint, History, ModuleRecords, Record, Told, Verdict, distinct_groups
from pytest_perfcache.store.protocol import Store
from pytest_perfcache.store.records import decode

RECORDS: Final = "records/"
SOURCE: Final = "source/"


class Planner:
    """Remembers what it loaded, for the merge at the end of the run."""

    def __init__(self, store: Store, world: World) -> None:
        self._store = store
        self._world = world
        self._modules: dict[str, ModuleRecords] = {}
        self._changes: dict[str, Changes] = {}
        self.upheld: Mapping[str, Upheld] = {}
        """Modules that stand although files were edited that they touch, by path."""

    def load(self, paths: Iterable[str]) -> None:
        """Fetch the records of these modules with one request."""
        wanted = [path for path in dict.fromkeys(paths) if path not in self._modules]
        found = self._store.get_many([RECORDS + path for path in wanted])
        for path in wanted:
            self._modules[path] = decode_or_empty(path, found.get(RECORDS + path))

    def decide(self, path: str, nodeid: str, conditions: Conditions) -> Verdict:
        return decide(nodeid, self.history(path, nodeid), self._changes_of(path), conditions)

    def contradicts(self, path: str, nodeid: str, passed: bool, told: Told | None) -> bool:
        """Whether, before the run, a record matched that says that the test ends otherwise."""
        history = self.history(path, nodeid)
        changes = self._changes_of(path)
        records = history.records if history else ()
        others = (record for record in records if (record.passed, record.told) != (passed, told))
        return any(_late(record.told) == _late(told) and not changes.broken(record) for record in others)

    def matching(self, path: str, nodeid: str) -> Record | None:
        """The newest clean record that held before the run."""
        history = self.history(path, nodeid)
        changes = self._changes_of(path)
        records = history.records if history else ()
        return next((record for record in records if record.clean and not changes.broken(record)), None)

    def everything(self, without: Container[str] = ()) -> Iterator[tuple[str, str]]:
        """Path and node id of each test that has records, but for those of some modules."""
        paths = (key.removeprefix(RECORDS) for key in self._store.keys(RECORDS))
        self.load(path for path in paths if path not in without)
        return self.loaded()

    def loaded(self) -> Iterator[tuple[str, str]]:
        """Path and node id of each test whose records were looked at."""
        for path, module in self._modules.items():
            for nodeid in module.tests:
                yield path, nodeid

    def histories(self) -> dict[str, History]:
        """All that was looked at so far, by node id."""
        return {nodeid: known for module in self._modules.values() for nodeid, known in module.tests.items()}

    def count(self, path: str) -> int:
        """How many tests are known of a module."""
        self.load([path])
        return len(self._modules[path].tests)

    def fingerprints(self, path: str, keys: Container[str]) -> set[Fingerprint]:
        """What the newest records of a module's tests say of these facts; of a test without any, nothing."""
        self.load([path])
        newest = (history.records[0] for history in self._modules[path].tests.values() if history.records)
        return {fact.fingerprint for record in newest for fact in record.facts if fact.key in keys}

    def history(self, path: str, nodeid: str) -> History | None:
        """What is remembered of one test."""
        self.load([path])
        return self._modules[path].tests.get(nodeid)

    def _changes_of(self, path: str) -> Changes:
        found = self._changes.get(path)
        if found is None:
            self.load([path])
            histories = self._modules[path].tests.values()
            groups = distinct_groups(record.facts for history in histories for record in history.records)
            facts = chain.from_iterable(groups)
            found = self._changes[path] = Changes.among(facts, self._world.state, self._world.reaches)
        return found


def _late(told: Told | None) -> str:
    return "" if told is None else told.late


def decode_or_empty(path: str, data: bytes | None) -> ModuleRecords:
    """Anything that can not be read is a miss."""
    if data is None:
        return ModuleRecords(path)
    try:
        return decode(data)
    except CodecError:
        return ModuleRecords(path)


def source_key(content: Fingerprint) -> str:
    return f"{SOURCE}{content.hex()}"


def pack_source(source: bytes) -> bytes:
    return zlib.compress(source, 1)


def unpack_source(data: bytes | None) -> bytes | None:
    try:
        return None if data is None else zlib.decompress(data)
    except zlib.error:
        return None
