"""What somebody plants in the database is never executed, followed or removed."""

from __future__ import annotations

import os
import pickle
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from diskcache import Cache
from diskcache.core import MODE_BINARY, MODE_PICKLE, MODE_RAW, MODE_TEXT

from pytest_perfcache.store.bytes_disk import BytesDisk, ForeignRowError
from pytest_perfcache.store.disk import DATABASE
from pytest_perfcache.store.safe import SafeStore
from tests.store.stores import Clock, disk_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_perfcache.store.disk import DiskStore

SOUND = {"sound": b"value", "sound and large": bytes(100)}
OWN_NAME = "ab/cd/" + "e" * 28 + ".val"


class Bomb:
    """An object whose pickle makes a directory when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


@dataclass(frozen=True)
class Place:
    """A store with sound rows in it, a victim outside it, and what an executed pickle would make."""

    store: DiskStore
    clock: Clock
    directory: Path
    victim: Path
    marker: Path

    @property
    def bomb(self) -> bytes:
        return pickle.dumps(Bomb(self.marker))

    def execute(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.directory / DATABASE)) as connection, connection:
            connection.execute(statement, values)

    def plant(self, **columns: object) -> None:
        """Insert a row, live for an hour and the oldest one, with some columns as given."""
        row = {
            "key": "planted",
            "raw": 1,
            "store_time": self.clock.now - 9e6,
            "expire_time": self.clock.now + 3600,
            "access_time": self.clock.now - 9e6,
            "size": 10,
            "mode": MODE_RAW,
        } | columns
        marks = ",".join("?" * len(row))
        self.execute(f"INSERT INTO Cache({','.join(row)}) VALUES ({marks})", *row.values())

    def assert_nothing_happened(self) -> None:
        assert not self.marker.exists()
        assert self.victim.read_bytes() == b"precious"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    clock = Clock()
    directory = tmp_path / "store"
    store = disk_store(directory, clock=clock, size_limit_bytes=1000)
    with monkeypatch.context() as patched:
        patched.setattr(os, "urandom", bytes)  # a drawn name could be in the directory that is planted
        store.set_many(SOUND)
    store.close()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    return Place(store, clock, directory, victim, tmp_path / "marker")


Plant = dict[str, object]
PLANTS: dict[str, Callable[[Place], Plant]] = {
    "a pickle in the row": lambda place: {"mode": MODE_PICKLE, "value": place.bomb},
    "a pickle in a file": lambda place: {"mode": MODE_PICKLE, "filename": planted_file(place)},
    "a pickle as key": lambda place: {"key": place.bomb, "raw": 0},
    "a text": lambda _: {"mode": MODE_RAW, "value": "text"},
    "a text file": lambda place: {"mode": MODE_TEXT, "filename": planted_file(place)},
    "a number": lambda _: {"mode": MODE_RAW, "value": 7},
    "nothing": lambda _: {"mode": MODE_RAW, "value": None},
    "an unknown mode": lambda _: {"mode": 99, "value": b"0123456789"},
    "a mode that is text": lambda _: {"mode": "raw", "value": b"0123456789"},
    "a size that is not the value's": lambda _: {"value": b"0123456789", "size": 9},
    "a size that is text": lambda _: {"value": b"0123456789", "size": "ten"},
    "an absolute file name": lambda place: {"mode": MODE_BINARY, "filename": str(place.victim), "size": 8},
    "a file name that climbs": lambda _: {"mode": MODE_BINARY, "filename": "../victim", "size": 8},
    "the database as file": lambda _: {"mode": MODE_BINARY, "filename": DATABASE},
    "a value and a file": lambda place: {"value": b"0123456789", "filename": str(place.victim)},
    "a file name that is bytes": lambda place: {"mode": MODE_BINARY, "filename": bytes(place.victim)},
    "a link as file": lambda place: {"mode": MODE_BINARY, "filename": planted_link(place), "size": 8},
    "a linked directory": lambda place: {"mode": MODE_BINARY, "filename": planted_way_out(place), "size": 8},
    "a pipe as file": lambda place: {"mode": MODE_BINARY, "filename": planted_pipe(place), "size": 0},
    "a file that is gone": lambda _: {"mode": MODE_BINARY, "filename": OWN_NAME},
}


def _own_path(place: Place) -> Path:
    path = place.directory / OWN_NAME
    path.parent.mkdir(parents=True)
    return path


def planted_file(place: Place) -> str:
    _own_path(place).write_bytes(place.bomb)
    return OWN_NAME


def planted_link(place: Place) -> str:
    _own_path(place).symlink_to(place.victim)
    return OWN_NAME


def planted_pipe(place: Place) -> str:
    os.mkfifo(_own_path(place))
    return OWN_NAME


def planted_way_out(place: Place) -> str:
    """Link a directory of the store to one outside, where the victim has a name as the store gives."""
    outside = place.victim.parent / "outside"
    (outside / "cd").mkdir(parents=True)
    place.victim.rename(place.victim.parent / OWN_NAME.replace("ab/", "outside/"))
    place.victim.symlink_to(place.victim.parent / OWN_NAME.replace("ab/", "outside/"))
    (place.directory / "ab").symlink_to(outside)
    return OWN_NAME


def get(place: Place) -> None:
    assert place.store.get_many(["planted", *SOUND]) == SOUND


def list_keys(place: Place) -> None:
    assert set(SOUND) <= set(place.store.keys()) <= {"planted", *SOUND}


def replace(place: Place) -> None:
    place.store.set("planted", b"mine")
    assert place.store.get_many(["planted", *SOUND]) == {"planted": b"mine", **SOUND}


def delete(place: Place) -> None:
    place.store.delete("planted")
    assert place.store.get_many(["planted", *SOUND]) == SOUND


def evict(place: Place) -> None:
    place.store.set("new", bytes(950))
    assert place.store.get("new") == bytes(950)
    assert place.store.stats().evictions >= 1


def expire(place: Place) -> None:
    place.clock.now += 4000
    place.store.set("new", b"value")
    assert place.store.get_many(["planted", "new", *SOUND]) == {"new": b"value", **SOUND}


def clear(place: Place) -> None:
    place.store.clear()
    assert place.store.keys() == []
    assert place.store.stats().entries == 0


USES = [get, list_keys, replace, delete, evict, expire, clear]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_row_is_not_believed(place: Place, plant: str, use: Callable[[Place], None]) -> None:
    place.plant(**PLANTS[plant](place))

    use(place)
    place.store.close()

    place.assert_nothing_happened()


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("column", ["value", "filename", "key"])
def test_text_that_is_no_utf_8_is_not_believed(place: Place, column: str, use: Callable[[Place], None]) -> None:
    place.plant(value=b"0123456789", size=9)
    place.execute(f"UPDATE Cache SET {column} = CAST(x'ff' AS TEXT) WHERE key = 'planted'")
    if column == "key" and use is list_keys:
        assert set(SOUND) < set(place.store.keys())
        return

    use(place)


def test_a_new_file_is_not_written_where_a_link_leads_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    planted_way_out(place)
    drawn = iter([b"\xab" + bytes(15), b"\x01" + bytes(15)])
    monkeypatch.setattr(os, "urandom", lambda _: next(drawn))

    place.store.set("new", bytes(200))

    assert place.store.get("new") == bytes(200)
    assert next(drawn, None) is None
    assert [path.name for path in (place.victim.parent / "outside").rglob("*.val")] == [Path(OWN_NAME).name]


def test_a_store_full_of_links_that_lead_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "00").symlink_to(tmp_path / "outside")
    monkeypatch.setattr(os, "urandom", bytes)

    with pytest.raises(ForeignRowError, match="links lead out"):
        BytesDisk(str(tmp_path), min_file_size=1).store(b"value", False)

    assert not list((tmp_path / "outside").iterdir())


INHERITED: list[Callable[[Cache], object]] = [
    lambda cache: cache.get("planted"),
    lambda cache: cache.pop("planted"),
    lambda cache: cache.read("planted"),
    lambda cache: cache.peekitem(),
    lambda cache: cache.pull(),
    list,
    lambda cache: list(cache.iterkeys()),
    lambda cache: cache.delete("planted"),
    lambda cache: cache.set("planted", b"mine"),
    lambda cache: cache.expire(9e9),
    lambda cache: cache.cull(),
    lambda cache: cache.evict("tag"),
    lambda cache: cache.clear(),
]


@pytest.mark.parametrize("use", range(len(INHERITED)))
@pytest.mark.parametrize("plant", ["a pickle in the row", "a pickle as key", "an absolute file name"])
def test_no_method_of_diskcache_believes_a_planted_row(place: Place, plant: str, use: int) -> None:
    place.plant(**{"tag": "tag"} | PLANTS[plant](place))
    cache = Cache(str(place.directory), disk=BytesDisk)
    with closing(cache), suppress(ForeignRowError, KeyError):  # refusing aloud is as good
        INHERITED[use](cache)

    place.assert_nothing_happened()


@pytest.mark.parametrize("plant", ["a pickle in the row", "an absolute file name"])
def test_the_plants_do_harm_where_rows_are_believed(place: Place, plant: str) -> None:
    place.plant(**PLANTS[plant](place))
    with closing(Cache(str(place.directory))) as cache:
        cache.pop("planted")

    assert place.marker.exists() is (plant == "a pickle in the row")
    assert place.victim.exists() is (plant != "an absolute file name")


def test_nothing_is_pickled(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.plant(mode=MODE_PICKLE, value=place.bomb)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("pickle was called")

    for name in ("dump", "dumps", "load", "loads"):
        monkeypatch.setattr(pickle, name, fail)
    for use in (get, list_keys, replace, delete, evict, expire, clear):
        use(place)
        place.store.set_many(SOUND)
        place.store.close()


SETTINGS: dict[str, tuple[object, object]] = {
    "another directory for the files": ("disk__directory", "/"),
    "an unknown attribute of the disk": ("disk_planted", 1),
    "a method of the disk": ("disk_fetch", "text"),
    "a smaller file size": ("disk_min_file_size", 0),
    "a method of the cache": ("close", "text"),
    "the directory of the cache": ("_directory", "/"),
    "a property of the cache": ("_con", "text"),
    "an attribute of ours": ("_patience", "text"),
    "another pragma": ("sqlite_user_version", 77),
    "a pragma that breaks the schema": ("sqlite_writable_schema", 1),
    "a pragma with a value that goes on": ("sqlite_journal_mode", "delete; DROP TABLE Cache"),
    "an unknown policy": ("eviction_policy", "planted"),
    "statistics": ("statistics", 1),
    "a size limit that is text": ("size_limit", "text"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_planted_setting_is_not_believed(place: Place, setting: str) -> None:
    place.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", *SETTINGS[setting])

    assert place.store.get_many(list(SOUND)) == SOUND
    place.store.set("sound and large", bytes(200))
    assert place.store.get("sound and large") == bytes(200)
    place.store.close()

    assert len(list(place.directory.glob("??/??/*.val"))) == 1
    with closing(sqlite3.connect(place.directory / DATABASE)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(("key", "value"), [(b"blob", 1), ("size", "text"), ("count", b"blob"), ("size", None)])
def test_settings_that_cannot_be_read_make_the_store_start_afresh(place: Place, key: object, value: object) -> None:
    place.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", key, value)
    warnings: list[str] = []
    safe = SafeStore(place.store, warnings.append)

    assert safe.get("sound") is None
    safe.set("sound", b"again")
    assert safe.get("sound") == b"again"
    assert len(warnings) == 1


def test_a_planted_file_size_does_not_reach_the_disk(tmp_path: Path) -> None:
    disk = BytesDisk(str(tmp_path), min_file_size=10, pickle_protocol=0, _directory="/", planted=1)

    assert disk.store(b"123456789", False) == (9, MODE_RAW, None, b"123456789")
    assert not hasattr(disk, "planted")


@pytest.mark.parametrize("value", ["text", 7, 1.5, None, bytearray(b"bytes"), ["list"], Path()])
def test_the_disk_stores_nothing_but_bytes(tmp_path: Path, value: object) -> None:
    with pytest.raises(ForeignRowError):
        BytesDisk(str(tmp_path)).store(value, False)


def test_the_disk_stores_no_streams(tmp_path: Path) -> None:
    with pytest.raises(ForeignRowError):
        BytesDisk(str(tmp_path)).store(b"", True)


@pytest.mark.parametrize("key", [b"bytes", 7, 1.5, None, ("tuple",)])
def test_the_disk_takes_no_keys_but_text(tmp_path: Path, key: object) -> None:
    disk = BytesDisk(str(tmp_path))

    with pytest.raises(ForeignRowError):
        disk.put(key)
    with pytest.raises(ForeignRowError):
        disk.get(key, True)


def test_the_disk_reads_no_key_that_is_marked_as_pickle(tmp_path: Path) -> None:
    with pytest.raises(ForeignRowError):
        BytesDisk(str(tmp_path)).get("text", False)


@pytest.mark.parametrize(
    "columns",
    [
        (MODE_PICKLE, None, pickle.dumps(1)),
        (MODE_TEXT, OWN_NAME, None),
        (MODE_RAW, None, "text"),
        (MODE_BINARY, "/etc/hostname", None),
        (MODE_BINARY, "ab/cd/../../../x", None),
        (MODE_BINARY, None, None),
    ],
)
def test_the_disk_fetches_no_other_row(tmp_path: Path, columns: tuple[int, str | None, object]) -> None:
    with pytest.raises(ForeignRowError):
        BytesDisk(str(tmp_path)).fetch(*columns, False)


def test_the_disk_removes_its_own_files_only(tmp_path: Path) -> None:
    disk = BytesDisk(str(tmp_path / "store"), min_file_size=1)
    name = cast("str", disk.store(b"value", False)[2])
    victim = tmp_path / "victim"
    victim.touch()

    for planted in (str(victim), "../victim", "", ".", bytes(victim), None, 7):
        disk.remove(planted)
    assert victim.exists()
    assert (tmp_path / "store" / name).exists()

    disk.remove(name)
    assert not (tmp_path / "store" / name).exists()
