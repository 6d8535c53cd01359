"""Whatever befalls a store is a miss or an ignored write, and at most one warning."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_perfcache.errors import StoreError
from pytest_perfcache.store.disk import DATABASE
from pytest_perfcache.store.memory import MemoryStore
from pytest_perfcache.store.protocol import StoreStats, UnusableStoreError
from pytest_perfcache.store.safe import PATIENCE, SafeStore
from tests.store.stores import disk_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]


class FaultyStore(MemoryStore):
    """A store that counts what is asked of it, and fails while it has a fault."""

    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__(1000)
        self.fault = fault
        self.asked = 0

    def _meet(self) -> None:
        self.asked += 1
        if self.fault is not None:
            raise self.fault

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        self._meet()
        return super().get_many(keys)

    def get(self, key: str) -> bytes | None:
        self._meet()
        return super().get(key)

    def set(self, key: str, value: bytes) -> None:
        self._meet()
        super().set(key, value)

    def set_many(self, items: Mapping[str, bytes]) -> None:
        self._meet()
        super().set_many(items)

    def delete(self, key: str) -> None:
        self._meet()
        super().delete(key)

    def keys(self, prefix: str = "") -> list[str]:
        self._meet()
        return super().keys(prefix)

    def clear(self) -> None:
        self._meet()
        super().clear()

    def close(self) -> None:
        self._meet()

    def stats(self) -> StoreStats:
        self._meet()
        return super().stats()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._meet()
        yield
        self._meet()


class RenewableStore(FaultyStore):
    """A faulty store that loses its fault, or meets another, when it starts afresh."""

    def __init__(self, fault: Exception, then: Exception | None = None) -> None:
        super().__init__(fault)
        self.then = then
        self.renewals = 0

    def start_afresh(self) -> None:
        self.renewals += 1
        self.fault = self.then


FAULTS = [
    OSError(errno.ENOSPC, "No space left on device"),
    PermissionError("read-only"),
    TimeoutError("the database is locked"),
    sqlite3.OperationalError("disk I/O error"),
    sqlite3.DatabaseError("something else"),
    StoreError("foreign"),
    UnusableStoreError("corrupt"),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
]
ACTIONS: list[tuple[Callable[[SafeStore], object], object]] = [
    (lambda store: store.get("a"), None),
    (lambda store: store.get_many(["a"]), {}),
    (lambda store: store.set("a", b"1"), None),
    (lambda store: store.set_many({"a": b"1"}), None),
    (lambda store: store.delete("a"), None),
    (lambda store: store.keys(), []),
    (lambda store: store.clear(), None),
    (lambda store: store.close(), None),
    (lambda store: store.stats(), StoreStats()),
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("action", range(len(ACTIONS)))
def test_a_fault_is_a_miss_and_one_warning(fault: Exception, action: int) -> None:
    warnings: list[str] = []
    store = SafeStore(FaultyStore(fault), warnings.append)
    act, answer = ACTIONS[action]

    assert [act(store) for _ in range(5)] == [answer] * 5
    assert len(warnings) == 1
    assert str(fault) in warnings[0]


def test_a_store_that_keeps_failing_is_not_asked_any_more() -> None:
    inner = FaultyStore(TimeoutError("locked"))
    store = SafeStore(inner, lambda _: None)

    for _ in range(10):
        store.get("a")

    assert inner.asked == PATIENCE


def test_a_store_that_is_not_asked_any_more_is_still_closed() -> None:
    inner = FaultyStore(TimeoutError("locked"))
    store = SafeStore(inner, lambda _: None)
    for _ in range(10):
        store.get("a")

    store.close()

    assert inner.asked == PATIENCE + 1


def test_a_passing_fault_costs_one_write_and_no_more() -> None:
    inner = FaultyStore(OSError(errno.ENOSPC, "No space left on device"))
    store = SafeStore(inner, lambda _: None)
    store.set("a", b"lost")

    inner.fault = None
    store.set("b", b"kept")

    assert store.get_many(["a", "b"]) == {"b": b"kept"}


def test_a_mistake_of_the_caller_s_is_no_fault() -> None:
    store = SafeStore(FaultyStore(ZeroDivisionError()), lambda _: None)

    with pytest.raises(ZeroDivisionError):
        store.get("a")


def test_a_corrupt_store_starts_afresh_once() -> None:
    inner = RenewableStore(UnusableStoreError("corrupt"))
    warnings: list[str] = []
    store = SafeStore(inner, warnings.append)

    assert store.get("a") is None
    store.set("a", b"1")
    assert store.get("a") == b"1"

    inner.fault = UnusableStoreError("corrupt again")
    assert store.get("a") is None
    inner.fault = None
    assert store.get("a") is None
    assert inner.renewals == 1
    assert len(warnings) == 1


def test_a_corrupt_store_that_cannot_be_set_aside_is_not_asked_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = RenewableStore(UnusableStoreError("corrupt"))
    monkeypatch.setattr(inner, "start_afresh", FaultyStore(PermissionError("read-only")).close)
    warnings: list[str] = []
    store = SafeStore(inner, warnings.append)

    assert [store.get("a"), store.get("a")] == [None, None]
    assert inner.asked == 1
    assert len(warnings) == 1


class TestTransaction:
    def test_that_cannot_begin_writes_nothing_and_the_block_runs(self) -> None:
        inner = FaultyStore()
        store = SafeStore(inner, lambda _: None)
        store.set("a", b"1")
        inner.fault = TimeoutError("locked")
        ran = False

        with store.transaction():
            inner.fault = None
            assert store.get("a") is None
            store.set("a", b"2")
            ran = True

        assert ran
        assert store.get("a") == b"1"

    def test_that_fails_too_often_ends_the_asking_for_good(self) -> None:
        inner = FaultyStore()
        store = SafeStore(inner, lambda _: None)
        with store.transaction():
            inner.fault = TimeoutError("locked")
            for _ in range(PATIENCE):
                store.set("a", b"1")
            inner.fault = None

        store.set("a", b"1")

        assert inner.keys() == []

    def test_that_cannot_be_committed_is_a_fault(self) -> None:
        inner = FaultyStore()
        warnings: list[str] = []
        with SafeStore(inner, warnings.append).transaction():
            inner.fault = OSError(errno.ENOSPC, "No space left on device")

        assert len(warnings) == 1

    def test_raises_what_the_block_raises(self) -> None:
        store = SafeStore(FaultyStore(), lambda _: None)

        with pytest.raises(OSError, match="the block's own"), store.transaction():
            raise OSError("the block's own")

    def test_in_which_the_store_turns_out_corrupt_is_ended_first(self) -> None:
        inner = RenewableStore(UnusableStoreError("corrupt"))
        inner.fault = None
        store = SafeStore(inner, lambda _: None)

        with store.transaction():
            inner.fault = UnusableStoreError("corrupt")
            store.set("a", b"lost")
            store.set("b", b"not tried")
            assert inner.renewals == 0

        assert inner.renewals == 1
        store.set("c", b"kept")
        assert store.keys() == ["c"]


class TestOnDisk:
    """Real faults, in a directory with something in it."""

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        store = disk_store(tmp_path / "store")
        store.set_many({f"test_{number}": bytes([number]) * 60 for number in range(200)})
        store.close()
        return tmp_path / "store"

    @pytest.fixture
    def warnings(self) -> list[str]:
        return []

    @pytest.fixture
    def store(self, directory: Path, warnings: list[str]) -> SafeStore:
        return SafeStore(disk_store(directory, lock_timeout_seconds=0.01), warnings.append)

    def assert_starts_afresh(self, store: SafeStore, directory: Path, warnings: list[str]) -> None:
        assert store.get_many([f"test_{number}" for number in range(200)]) == {}
        store.set("test_0", b"again")
        assert store.get("test_0") == b"again"
        store.close()
        assert disk_store(directory).get("test_0") == b"again"
        assert (directory.parent / "store.broken" / DATABASE).exists()
        assert len(warnings) == 1

    def test_a_database_that_is_something_else(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        (directory / DATABASE).write_bytes(b"no database" * 1000)

        self.assert_starts_afresh(store, directory, warnings)

    def test_a_database_that_is_cut_off(self, store: SafeStore, directory: Path, warnings: list[str]) -> None:
        with (directory / DATABASE).open("r+b") as file:
            file.truncate(3 * 4096)

        self.assert_starts_afresh(store, directory, warnings)

    def test_a_database_with_pages_overwritten(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        with (directory / DATABASE).open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096 * 50)

        self.assert_starts_afresh(store, directory, warnings)

    def test_a_database_of_another_shape(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        with closing(sqlite3.connect(directory / DATABASE)) as connection:
            connection.executescript("DROP TABLE Cache; CREATE TABLE Cache (other)")

        self.assert_starts_afresh(store, directory, warnings)

    def test_a_database_that_breaks_while_it_is_open(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        assert store.get("test_1") is not None
        with closing(sqlite3.connect(directory / DATABASE)) as connection:
            connection.execute("DROP TABLE Cache")

        self.assert_starts_afresh(store, directory, warnings)

    def test_a_database_that_another_process_has_replaced_is_not_set_aside(
        self, store: SafeStore, directory: Path
    ) -> None:
        assert store.get("test_1") is not None
        with closing(sqlite3.connect(directory / DATABASE)) as connection:
            connection.execute("DROP TABLE Cache")
        directory.rename(directory.parent / "theirs")
        other = disk_store(directory)
        other.set("test_1", b"theirs")

        assert store.get("test_1") is None
        assert store.get("test_1") == b"theirs"
        assert not (directory.parent / "store.broken").exists()

    def test_a_directory_set_aside_earlier_gives_way(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        earlier = directory.parent / "store.broken" / "earlier"
        earlier.mkdir(parents=True)
        (directory / DATABASE).write_bytes(b"no database" * 1000)

        self.assert_starts_afresh(store, directory, warnings)
        assert not earlier.exists()

    def test_a_file_in_the_directory_s_place(self, tmp_path: Path, warnings: list[str]) -> None:
        (tmp_path / "store").write_text("mine")
        store = SafeStore(disk_store(tmp_path / "store"), warnings.append)

        store.set("a", b"1")
        assert store.get("a") is None
        store.close()
        assert (tmp_path / "store").read_text() == "mine"
        assert len(warnings) == 1

    def test_a_directory_that_cannot_be_created(self, tmp_path: Path, warnings: list[str]) -> None:
        (tmp_path / "file").touch()
        store = SafeStore(disk_store(tmp_path / "file" / "store"), warnings.append)

        store.set("a", b"1")
        assert store.get("a") is None
        assert len(warnings) == 1

    def test_a_database_that_cannot_be_opened(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        for path in directory.glob(f"{DATABASE}*"):
            path.unlink()
        (directory / DATABASE).mkdir()

        assert store.get("test_1") is None
        assert len(warnings) == 1

    def test_a_value_s_file_that_cannot_be_read(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        store.set("large", bytes(100))
        (path,) = directory.glob("??/??/*.val")
        path.unlink()
        path.mkdir()

        assert store.get_many(["large", "test_1"]) == {"test_1": b"\1" * 60}
        assert warnings == []

    def test_a_value_s_file_that_is_cut_off(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        store.set("large", bytes(100))
        (path,) = directory.glob("??/??/*.val")
        path.write_bytes(bytes(50))

        assert store.get("large") is None
        assert warnings == []

    def test_a_database_locked_for_writing(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        assert store.get("test_1") is not None
        with closing(sqlite3.connect(directory / DATABASE)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            store.set("test_1", bytes(100))
            assert store.get("test_1") == b"\1" * 60
            connection.rollback()
        store.set("test_2", b"new")

        assert store.get("test_2") == b"new"
        assert list(directory.glob("??/??/*.val")) == []
        assert len(warnings) == 1
        assert "locked" in warnings[0]

    def test_a_database_locked_when_it_is_opened(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        with closing(sqlite3.connect(directory / DATABASE)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            assert store.get("test_1") is None
        assert store.get("test_1") == b"\1" * 60
        assert len(warnings) == 1

    def test_a_disk_that_is_full(self, directory: Path) -> None:
        limit = (directory / DATABASE).stat().st_size + 50_000
        script = """
import resource, sys
from pathlib import Path
from pytest_perfcache.store.disk import DiskStore
from pytest_perfcache.store.safe import SafeStore
warnings = []
store = SafeStore(DiskStore(Path(sys.argv[1]), 10**9, 1e10), warnings.append)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
store.set("small", b"fits")
store.set("large", bytes(200_000))
print(store.get("small"), store.get("large"), store.get("test_1") == bytes([1]) * 60, len(warnings))
"""
        command = [sys.executable, "-c", script, str(directory), str(limit)]
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

        assert output == "b'fits' None True 1\n"
        assert disk_store(directory).get("test_1") == b"\1" * 60

    def test_a_database_that_is_cut_off_in_a_transaction(
        self, store: SafeStore, directory: Path, warnings: list[str]
    ) -> None:
        assert store.get("test_1") is not None
        with suppress(ZeroDivisionError), store.transaction():
            (directory / DATABASE).write_bytes(b"no database" * 1000)
            store.set("a", b"1")
            raise ZeroDivisionError
        store.set("b", b"2")

        with disk_store(directory, lock_timeout_seconds=0.0).transaction():
            pass
        assert len(warnings) <= 1
