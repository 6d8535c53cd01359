"""Real faults of a disk store, in a directory with something in it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pytest_perfcache.store.disk import DATABASE
from pytest_perfcache.store.safe import SafeStore
from tests.store.stores import disk_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    store = disk_store(tmp_path / "store")
    store.set_many({f"test_{number}": bytes([number]) * 60 for number in range(200)})
    store.close()
    return tmp_path / "store"


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(directory: Path, warnings: list[str]) -> SafeStore:
    return SafeStore(disk_store(directory, lock_timeout_seconds=0.01), warnings.append)


def assert_starts_afresh(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    assert store.get_many([f"test_{number}" for number in range(200)]) == {}
    store.set("test_0", b"again")
    assert store.get("test_0") == b"again"
    store.close()
    assert disk_store(directory).get("test_0") == b"again"
    assert (directory.parent / "store.broken" / DATABASE).exists()
    assert len(warnings) == 1


def test_a_database_that_is_something_else(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    (directory / DATABASE).write_bytes(b"no database" * 1000)

    assert_starts_afresh(store, directory, warnings)


def test_a_database_that_is_cut_off(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    with (directory / DATABASE).open("r+b") as file:
        file.truncate(3 * 4096)

    assert_starts_afresh(store, directory, warnings)


def test_a_database_with_pages_overwritten(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    with (directory / DATABASE).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 50)

    assert_starts_afresh(store, directory, warnings)


def test_a_database_of_another_shape(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        connection.executescript("DROP TABLE Cache; CREATE TABLE Cache (other)")

    assert_starts_afresh(store, directory, warnings)


def test_a_database_that_breaks_while_it_is_open(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    assert store.get("test_1") is not None
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        connection.execute("DROP TABLE Cache")

    assert_starts_afresh(store, directory, warnings)


def test_a_database_that_another_process_has_replaced_is_not_set_aside(store: SafeStore, directory: Path) -> None:
    assert store.get("test_1") is not None
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        connection.execute("DROP TABLE Cache")
    directory.rename(directory.parent / "theirs")
    other = disk_store(directory)
    other.set("test_1", b"theirs")

    assert store.get("test_1") is None
    assert store.get("test_1") == b"theirs"
    assert not (directory.parent / "store.broken").exists()


def test_a_directory_set_aside_earlier_gives_way(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    earlier = directory.parent / "store.broken" / "earlier"
    earlier.mkdir(parents=True)
    (directory / DATABASE).write_bytes(b"no database" * 1000)

    assert_starts_afresh(store, directory, warnings)
    assert not earlier.exists()


def test_a_file_in_the_directory_s_place(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "store").write_text("mine")
    store = SafeStore(disk_store(tmp_path / "store"), warnings.append)

    store.set("a", b"1")
    assert store.get("a") is None
    store.close()
    assert (tmp_path / "store").read_text() == "mine"
    assert len(warnings) == 1


def test_a_directory_that_cannot_be_created(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "file").touch()
    store = SafeStore(disk_store(tmp_path / "file" / "store"), warnings.append)

    store.set("a", b"1")
    assert store.get("a") is None
    assert len(warnings) == 1


def test_a_database_that_cannot_be_opened(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    for path in directory.glob(f"{DATABASE}*"):
        path.unlink()
    (directory / DATABASE).mkdir()

    assert store.get("test_1") is None
    assert len(warnings) == 1


def test_a_value_s_file_that_cannot_be_read(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    store.set("large", bytes(100))
    (path,) = directory.glob("??/??/*.val")
    path.unlink()
    path.mkdir()

    assert store.get_many(["large", "test_1"]) == {"test_1": b"\1" * 60}
    assert warnings == []


def test_a_value_s_file_that_is_cut_off(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    store.set("large", bytes(100))
    (path,) = directory.glob("??/??/*.val")
    path.write_bytes(bytes(50))

    assert store.get("large") is None
    assert warnings == []


def test_a_database_locked_for_writing(store: SafeStore, directory: Path, warnings: list[str]) -> None:
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


def test_a_database_locked_when_it_is_opened(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        assert store.get("test_1") is None
    assert store.get("test_1") == b"\1" * 60
    assert len(warnings) == 1


def test_a_disk_that_is_full(directory: Path) -> None:
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


def test_a_database_that_is_cut_off_in_a_transaction(store: SafeStore, directory: Path, warnings: list[str]) -> None:
    assert store.get("test_1") is not None
    with suppress(ZeroDivisionError), store.transaction():
        (directory / DATABASE).write_bytes(b"no database" * 1000)
        store.set("a", b"1")
        raise ZeroDivisionError
    store.set("b", b"2")

    with disk_store(directory, lock_timeout_seconds=0.0).transaction():
        pass
    assert len(warnings) <= 1
