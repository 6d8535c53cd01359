"""The disk store expires, evicts, and shares its directory with other processes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_perfcache.errors import StoreError
from pytest_perfcache.store.disk import DATABASE, DAY_SECONDS
from tests.store.stores import WEEK_SECONDS, Clock, disk_store

ROOT = Path(__file__).parents[2]


def start_python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a script in a process of its own that can import what the tests can."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def value_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("??/??/*.val"))


def changes(connection: sqlite3.Connection) -> int:
    """Return a number that grows whenever another connection commits."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def access_times(directory: Path) -> set[float]:
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        return {row[0] for row in connection.execute("SELECT access_time FROM Cache")}


def test_nothing_is_imported_or_created_before_the_first_use(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from pytest_perfcache.store.disk import DiskStore
DiskStore(Path(sys.argv[1]), 1, 1).close()
print(*sorted({"diskcache", "sqlite3", "pickle"} & set(sys.modules)), Path(sys.argv[1]).exists())
"""
    with start_python(script, tmp_path / "store") as process:
        assert process.communicate()[0] == "False\n"


def test_small_values_lie_in_the_database_and_large_ones_in_files(tmp_path: Path) -> None:
    store = disk_store(tmp_path, inline_bytes=64)

    store.set_many({"small": bytes(63), "large": bytes(64)})
    assert [path.stat().st_size for path in value_files(tmp_path)] == [64]

    store.set("large", bytes(65))
    assert [path.stat().st_size for path in value_files(tmp_path)] == [65]

    store.set("large", bytes(1))
    assert value_files(tmp_path) == []


def test_a_directory_name_that_diskcache_would_expand_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "elsewhere")

    with pytest.raises(StoreError, match="variable"):
        disk_store(tmp_path / "$PLACE").get("a")
    assert list(tmp_path.iterdir()) == []


class TestTimeToLive:
    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.text(max_size=20), min_size=1, max_size=20, unique=True))
    def test_lies_within_a_quarter_of_what_is_asked(
        self, tmp_path_factory: pytest.TempPathFactory, keys: list[str]
    ) -> None:
        clock = Clock()
        with closing(disk_store(tmp_path_factory.mktemp("store"), clock=clock)) as store:
            store.set_many(dict.fromkeys(keys, b"value"))

            clock.now += 0.75 * WEEK_SECONDS - 1
            assert store.keys() == sorted(keys)
            assert store.get_many(keys) == dict.fromkeys(keys, b"value")

            clock.now += 0.5 * WEEK_SECONDS + 2
            assert store.keys() == []
            assert store.get_many(keys) == {}

    def test_is_spread_over_the_keys_and_always_the_same_for_a_key(self, tmp_path: Path) -> None:
        alive = []
        for name in ("one", "other"):
            clock = Clock()
            store = disk_store(tmp_path / name, clock=clock)
            store.set_many({f"test_{number}": b"value" for number in range(200)})
            clock.now += WEEK_SECONDS
            alive.append(store.keys())
            store.close()

        assert alive[0] == alive[1]
        assert 60 < len(alive[0]) < 140

    def test_begins_again_with_each_write_but_not_with_a_read(self, tmp_path: Path) -> None:
        clock = Clock()
        store = disk_store(tmp_path, clock=clock)
        store.set_many({"written": b"1", "read": b"1"})
        clock.now += 0.7 * WEEK_SECONDS
        store.set("written", b"2")
        assert store.get("read") == b"1"
        store.close()

        clock.now += 0.7 * WEEK_SECONDS
        assert store.get_many(["written", "read"]) == {"written": b"2"}

    def test_ends_on_the_disk_with_the_next_write(self, tmp_path: Path) -> None:
        clock = Clock()
        store = disk_store(tmp_path, clock=clock)
        store.set_many({"small": b"1", "large": bytes(100)})
        clock.now += 2 * WEEK_SECONDS

        store.set("new", b"22")

        assert value_files(tmp_path) == []
        stats = store.stats()
        assert (stats.entries, stats.size_bytes, stats.evictions) == (1, 2, 0)


class TestEviction:
    def test_keeps_the_size_under_the_limit_and_is_counted(self, tmp_path: Path) -> None:
        clock = Clock()
        store = disk_store(tmp_path, size_limit_bytes=1000, clock=clock)
        for number in range(30):
            clock.now += 1
            store.set(f"{number:02}", bytes(50 + number))
            assert store.stats().size_bytes <= 1000

        stats = store.stats()
        assert stats.entries + stats.evictions == 30
        assert store.keys() == [f"{number:02}" for number in range(stats.evictions, 30)]
        assert len(value_files(tmp_path)) == sum(number >= 14 for number in range(stats.evictions, 30))

    def test_of_many_at_once_leaves_the_last(self, tmp_path: Path) -> None:
        store = disk_store(tmp_path, size_limit_bytes=1000)

        store.set_many({f"{number:03}": bytes(10) for number in range(350)})

        assert store.keys() == [f"{number:03}" for number in range(250, 350)]
        assert store.stats().evictions == 250

    def test_spares_what_was_used_on_a_later_day(self, tmp_path: Path) -> None:
        clock = Clock()
        store = disk_store(tmp_path, size_limit_bytes=30, clock=clock)
        for key in "abc":
            store.set(key, bytes(10))
            clock.now += 1
        clock.now += DAY_SECONDS
        store.get("a")
        store.close()

        clock.now += 1
        store.set("d", bytes(10))

        assert store.keys() == ["a", "c", "d"]

    def test_spares_everything_else_when_a_value_never_fits(self, tmp_path: Path) -> None:
        store = disk_store(tmp_path, size_limit_bytes=30)
        store.set_many({"a": bytes(10), "b": bytes(10)})

        store.set("a", bytes(31))

        assert store.keys() == ["b"]
        assert store.stats().evictions == 0

    def test_removes_the_old_files_that_killed_processes_left(self, tmp_path: Path) -> None:
        store = disk_store(tmp_path, size_limit_bytes=100)
        store.set("a", bytes(80))
        old, young = (tmp_path / "00" / "00" / f"{digit * 28}.val" for digit in "12")
        other = tmp_path / "00" / "00" / "notes.val"
        old.parent.mkdir(parents=True)
        for path in (old, young, other):
            path.touch()
        os.utime(old, times=(time.time() - DAY_SECONDS,) * 2)
        os.utime(other, times=(time.time() - DAY_SECONDS,) * 2)

        store.set("b", bytes(80))

        assert not old.exists()
        assert young.exists()
        assert other.exists()
        assert store.get("b") == bytes(80)


class TestReading:
    def test_writes_nothing(self, tmp_path: Path) -> None:
        clock = Clock()
        store = disk_store(tmp_path, clock=clock)
        store.set_many({"a": b"1", "b": bytes(100)})
        clock.now += DAY_SECONDS - 1
        with closing(sqlite3.connect(tmp_path / DATABASE)) as watcher:
            before = changes(watcher)
            assert store.get_many(["a", "b", "c"]) == {"a": b"1", "b": bytes(100)}
            store.close()
            assert changes(watcher) == before

    def test_is_written_down_once_a_day_when_the_store_is_closed(self, tmp_path: Path) -> None:
        clock = Clock()
        store = disk_store(tmp_path, clock=clock)
        store.set("a", b"1")
        written = clock.now
        clock.now += DAY_SECONDS + 1
        store.get("a")
        assert access_times(tmp_path) == {written}

        store.close()

        assert access_times(tmp_path) == {clock.now}

    def test_finds_more_keys_than_one_statement_takes(self, tmp_path: Path) -> None:
        store = disk_store(tmp_path)
        items = {f"test_{number}": b"%d" % number for number in range(2500)}
        store.set_many(items)

        assert store.get_many([*items, "test_0", "absent"]) == items
        assert (store.stats().hits, store.stats().misses) == (2500, 1)

    def test_goes_on_while_another_holds_a_transaction(self, tmp_path: Path) -> None:
        store, other = disk_store(tmp_path), disk_store(tmp_path)
        store.set("a", b"old")

        with other.transaction():
            other.set("a", b"new")
            assert store.get("a") == b"old"
        assert store.get("a") == b"new"


class TestTransaction:
    def test_that_fails_leaves_everything_as_it_was(self, tmp_path: Path) -> None:
        store = disk_store(tmp_path)
        store.set_many({"small": b"1", "large": bytes(100)})

        with suppress(ZeroDivisionError), store.transaction():
            store.set_many({"small": b"2", "large": bytes(200), "new": bytes(300)})
            store.delete("small")
            raise ZeroDivisionError

        everything = {"small": b"1", "large": bytes(100)}
        assert store.get_many(["small", "large", "new"]) == everything
        assert [path.stat().st_size for path in value_files(tmp_path)] == [100]

    def test_of_a_write_that_fails_halfway_leaves_no_part_of_it(self, tmp_path: Path) -> None:
        store = disk_store(tmp_path)
        store.set("a", b"1")

        with pytest.raises(UnicodeEncodeError):
            store.set_many({"a": bytes(100), "no \udcff text": b"2"})

        assert store.get("a") == b"1"
        assert value_files(tmp_path) == []

    def test_of_two_processes_lose_no_update(self, tmp_path: Path) -> None:
        script = """
import sys
import time
from pathlib import Path
from pytest_perfcache.store.disk import DiskStore
from pytest_perfcache.store.memory import MemoryStore
from pytest_perfcache.store.tiers import TieredStore
store = TieredStore(MemoryStore(10_000), DiskStore(Path(sys.argv[1]), 10**6, 1000.0, inline_bytes=400))
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    with store.transaction():
        before = store.get("shared") or b""
        time.sleep(0.001)  # lets the other one in, if anything does
        store.set("shared", before + sys.argv[2].encode() + b"%02d," % number)
    store.set(sys.argv[2] + str(number), b"own")
store.close()
"""
        with start_python(script, tmp_path, "a") as first, start_python(script, tmp_path, "b") as second:
            for process in (first, second):
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in (first, second):
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            assert (first.wait(), second.wait()) == (0, 0)

        store = disk_store(tmp_path, clock=time.time)
        merged = (store.get("shared") or b"").decode().split(",")[:-1]
        for name in "ab":
            own = [entry for entry in merged if entry[0] == name]
            assert own == [f"{name}{number:02}" for number in range(60)]
        assert len(merged) == 120
        assert len(store.keys()) == 121
        assert len(value_files(tmp_path)) == 1


def test_what_a_killed_process_had_written_is_whole_and_the_store_goes_on(tmp_path: Path) -> None:
    script = """
import sys
from itertools import count
from pathlib import Path
from pytest_perfcache.store.disk import DiskStore
store = DiskStore(Path(sys.argv[1]), 10**8, 1000.0, inline_bytes=500)
for number in count():
    fill = bytes([number % 256])
    store.set_many({f"{part}": fill * (100 * part) for part in range(10)})
    print(number, flush=True)
"""
    for _ in range(3):
        with start_python(script, tmp_path) as process:
            assert process.stdout is not None
            for _ in range(5):
                process.stdout.readline()
            process.kill()

        store = disk_store(tmp_path, clock=time.time)
        values = store.get_many([f"{part}" for part in range(10)])
        fill = values["1"][:1]
        assert values == {f"{part}": fill * (100 * part) for part in range(10)}
        store.set("0", b"after")
        assert store.get("0") == b"after"
        store.close()
        with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
