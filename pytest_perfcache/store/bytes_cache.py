"""diskcache's cache, made to trust nothing that its database says of itself.

Written against diskcache 5.6.3, of which it overrides what is private: see each method for the reason.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from diskcache.core import DEFAULT_SETTINGS, ENOVAL, METADATA, Cache

from pytest_perfcache.errors import StoreError
from pytest_perfcache.store.bytes_disk import BytesDisk
from pytest_perfcache.store.protocol import UnusableStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Execute = Callable[..., sqlite3.Cursor]

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_CHUNK: Final = 500
"""Parameters in one statement; SQLite before 3.32 takes 999."""
_LIVE: Final = "raw = 1 AND (expire_time IS NULL OR expire_time > ?)"


class BytesCache(Cache):  # type: ignore[misc]  # diskcache has no types
    """Rows of bytes with a size, an expiry and an access time (seconds since the epoch)."""

    _txn_id: int | None

    def __init__(self, directory: str, lock_timeout_seconds: float, inline_bytes: int) -> None:
        """Open or create the database; TimeoutError when it stays locked."""
        if os.path.expandvars(directory) != directory:
            # diskcache would expand it and go elsewhere.
            raise StoreError("a directory whose name holds a variable that is set cannot be used")
        self._patience = lock_timeout_seconds
        self._fresh: list[str] = []
        self._doomed: list[object] = []
        # All settings are named, so that none is taken from the database.
        self._own_settings = DEFAULT_SETTINGS | {
            "eviction_policy": "least-recently-used",
            "cull_limit": 0,
            # A mapped database that somebody cuts off kills the process (SIGBUS) instead of raising an error.
            "sqlite_mmap_size": 0,
            # Waiting for the disk can take many seconds where others write much. A killed process harms nothing
            # without it; what a power failure may corrupt is set aside and recorded anew.
            "sqlite_synchronous": 0,
            "disk_min_file_size": inline_bytes,
        }
        try:
            super().__init__(directory, lock_timeout_seconds, BytesDisk, **self._own_settings)
        except BaseException:
            self.close()
            raise

    def reset(self, key: str, value: object = ENOVAL, update: bool = True) -> object:
        """Take a setting from here and a counter from the database; ignore every other row.

        diskcache makes each row of its settings table an attribute of itself or of its disk, and each row
        that starts with `sqlite_` a pragma.
        """
        del value, update
        if key in METADATA:
            own: object = self._counter(key)
        elif key in self._own_settings:
            own = self._own_settings[key]
            if key.startswith("sqlite_"):
                self._pragma(key.removeprefix("sqlite_"), own)
        else:
            return None
        setattr(self, key, own)
        return own

    def volume(self) -> int:
        """Return the bytes of all values."""
        return self._counter("size")

    def entries(self) -> int:
        """Return the number of rows, expired ones included."""
        return self._counter("count")

    def filenames(self) -> set[object]:
        """Return the names of all files that have a row."""
        return {name for (name,) in self._sql("SELECT filename FROM Cache WHERE filename IS NOT NULL")}

    def read(self, keys: Sequence[str], now: float) -> Iterator[tuple[int, str, bytes, float]]:
        """Yield row id, key, value and access time of the keys that have a value: refused rows have none."""
        sql = self._sql
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            query = (
                "SELECT rowid, key, access_time, size, mode, filename, value FROM Cache"
                f" WHERE key IN ({marks}) AND {_LIVE}"
            )
            for rowid, key, accessed, size, mode, filename, stored in sql(query, (*chunk, now)):
                try:
                    value = self._disk.fetch(mode, filename, stored, False)
                except (StoreError, OSError):
                    continue  # a refused row, or a file that another process has just evicted: a miss
                if len(value) == size:
                    yield rowid, key, value, accessed if isinstance(accessed, float) else now

    def write(self, items: Mapping[str, bytes], now: float, expiry: Callable[[str], float]) -> None:
        """Insert or replace rows, which expire at now + expiry(key) seconds."""
        with self._transact() as (sql, cleanup):
            for key, value in items.items():
                db_key, raw = self._disk.put(key)
                size, mode, filename, stored = self._disk.store(value, False, key=key)
                if filename is not None:
                    self._fresh.append(filename)
                columns = (now + expiry(key), None, size, mode, filename, stored)
                query = "SELECT rowid, filename FROM Cache WHERE key = ? AND raw = ?"
                row = sql(query, (db_key, raw)).fetchone()
                if row is None:
                    self._row_insert(db_key, raw, now, columns)
                else:
                    cleanup(row[1])
                    self._row_update(row[0], now, columns)

    def mark_used(self, rowids: Iterable[int], now: float) -> None:
        """Set the access time of rows."""
        with self._transact() as (sql, _):
            for rowid in rowids:
                sql("UPDATE Cache SET access_time = ? WHERE rowid = ?", (now, rowid))

    def forget(self, key: str) -> None:
        """Delete the row of `key`, expired or not."""
        with self._transact() as (sql, cleanup):
            query = "SELECT rowid, filename FROM Cache WHERE key = ? AND raw = 1"
            for rowid, filename in sql(query, (key,)).fetchall():
                sql("DELETE FROM Cache WHERE rowid = ?", (rowid,))
                cleanup(filename)

    def live_keys(self, prefix: str, now: float) -> Iterator[str]:
        """Yield the keys that start with `prefix` in order.

        The text's end is found here: SQLite's LIKE and substr stop at a NUL.
        """
        query = f"SELECT key FROM Cache WHERE key >= ? AND typeof(key) = 'text' AND {_LIVE} ORDER BY key"
        for (key,) in self._sql(query, (prefix, now)):
            if not key.startswith(prefix):
                return
            yield key

    def drop_expired(self, now: float) -> None:
        """Delete the expired rows."""
        with self._transact() as (sql, cleanup):
            where = "FROM Cache WHERE expire_time <= ?"
            names = sql(f"SELECT filename {where} AND filename IS NOT NULL", (now,)).fetchall()
            sql(f"DELETE {where}", (now,))
            for (filename,) in names:
                cleanup(filename)

    def make_room(self, limit_bytes: int) -> int:
        """Delete the least recently used rows until the values fit; return how many were deleted."""
        evicted = 0
        with self._transact() as (sql, cleanup):
            excess = self.volume() - limit_bytes
            while excess > 0:
                query = "SELECT rowid, size, filename FROM Cache ORDER BY access_time, rowid LIMIT 100"
                rows = sql(query).fetchall()
                if not rows:
                    break
                for rowid, size, filename in rows:
                    if excess <= 0:
                        break
                    sql("DELETE FROM Cache WHERE rowid = ?", (rowid,))
                    cleanup(filename)
                    excess -= size if isinstance(size, int) else 0
                    evicted += 1
        return evicted

    def _counter(self, key: str) -> int:
        """Return a counter that diskcache's triggers keep."""
        row = self._sql_retry("SELECT value FROM Settings WHERE key = ?", (key,)).fetchone()
        if row is None or not isinstance(row[0], int):
            raise UnusableStoreError(f"the counter {key!r} is not a number")
        return row[0]

    def _pragma(self, name: str, value: object) -> None:
        """Set a pragma that is not set yet: setting it again can take a lock."""
        row = self._sql_retry(f"PRAGMA {name}").fetchone()
        if row is None or row[0] != value:
            self._sql_retry(f"PRAGMA {name} = {value}").fetchall()

    @property
    def _con(self) -> sqlite3.Connection:
        """diskcache's connection of this thread, which survives text that is no UTF-8."""
        connection: sqlite3.Connection = super()._con
        connection.text_factory = _decode
        return connection

    @property
    def _sql_retry(self) -> Execute:
        """Execute, waiting for a lock no longer than the lock timeout; diskcache would wait for a minute."""

        def execute(statement: str, *args: Any) -> sqlite3.Cursor:
            deadline = time.monotonic() + self._patience
            while True:
                try:
                    return self._con.execute(statement, *args)
                except sqlite3.OperationalError as error:
                    if not _is_busy(error):
                        raise
                    if time.monotonic() > deadline:
                        raise TimeoutError("the database is locked") from error
                time.sleep(0.005)

        return execute

    @contextmanager
    def _transact(
        self, retry: bool = False, filename: str | None = None
    ) -> Iterator[tuple[Execute, Callable[[object], None]]]:
        """Begin, or join this thread's transaction, and settle the files with it.

        diskcache's own calls every fault to begin a timeout, and removes replaced files before the outer
        transaction is committed.
        """
        del retry
        if self._txn_id == threading.get_ident():
            yield self._sql, self._doomed.append
            return
        connection = self._con
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            self._remove_all([filename])
            if _is_busy(error):
                raise TimeoutError("the database is locked") from error
            raise
        self._txn_id = threading.get_ident()
        fresh = self._fresh = []
        doomed = self._doomed = []
        try:
            yield connection.execute, doomed.append
            self._txn_id = None
            connection.execute("COMMIT")
        except BaseException:
            self._txn_id = None
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._remove_all([filename, *fresh])
            raise
        self._remove_all(doomed)

    def _remove_all(self, filenames: Iterable[object]) -> None:
        for filename in filenames:
            if filename is not None:
                self._disk.remove(filename)


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY
