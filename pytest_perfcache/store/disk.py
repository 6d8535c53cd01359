"""The project's store on disk."""

from __future__ import annotations

import shutil
import threading
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pytest_perfcache.store.protocol import StoreStats, UnusableStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_perfcache.store.bytes_cache import BytesCache

DAY_SECONDS: Final = 86_400.0
DATABASE: Final = "cache.db"
_ORPHAN_SECONDS: Final = 3_600.0
"""Age from which a file without a row was left by a killed process; a younger one may await its commit."""


class DiskStore:
    """Keep values in an SQLite database, large ones in files beside it, by way of diskcache.

    Nothing is imported, opened or created before the first use. Raises sqlite3.Error, OSError (TimeoutError
    when the database is locked) and StoreError: see SafeStore.
    """

    def __init__(
        self,
        directory: Path,
        size_limit_bytes: int,
        ttl_seconds: float,
        *,
        ttl_jitter: float = 0.25,
        inline_bytes: int = 256 * 1024,
        lock_timeout_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Expire a key `ttl_seconds` after it was set, more or less a share of at most `ttl_jitter`.

        The share is always the same for a key. Values from `inline_bytes` on go to files. The least recently
        used are evicted; a use is written down once a day.
        """
        self._directory = directory
        self._limit = size_limit_bytes
        self._ttl = ttl_seconds
        self._jitter = ttl_jitter
        self._inline_bytes = inline_bytes
        self._lock_timeout = lock_timeout_seconds
        self._clock = clock
        self._cache: BytesCache | None = None
        self._opened: tuple[int, int] | None = None
        self._opening = threading.Lock()
        self._used: set[int] = set()
        self._swept = False
        self._hits = 0
        self._misses = 0
        self._evictions = 0

    def get(self, key: str) -> bytes | None:
        """Return the value of `key`, None when there is none."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the values of those keys that have one, without writing."""
        wanted = list(dict.fromkeys(keys))
        now = self._clock()
        found: dict[str, bytes] = {}
        for rowid, key, value, accessed in self._open().read(wanted, now):
            found[key] = value
            if accessed < now - DAY_SECONDS:
                self._used.add(rowid)
        self._hits += len(found)
        self._misses += len(wanted) - len(found)
        return found

    def set(self, key: str, value: bytes) -> None:
        """Remember `value`."""
        self.set_many({key: value})

    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Remember all items in one transaction, or none when it fails, and make room for them."""
        fitting = {key: value for key, value in items.items() if len(value) <= self._limit}
        cache, now = self._open(), self._clock()
        with cache.transact():
            self._write_uses(cache, now)
            for key in items.keys() - fitting.keys():
                cache.forget(key)
            cache.write(fitting, now, self._time_to_live)
            cache.drop_expired(now)
            evicted = cache.make_room(self._limit)
        self._evictions += evicted
        if evicted and not self._swept:
            self._sweep(cache)

    def delete(self, key: str) -> None:
        """Forget `key`, which need not exist."""
        self._open().forget(key)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the sorted keys that start with `prefix`."""
        return list(self._open().live_keys(prefix, self._clock()))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the database's write lock, while others can read; undone when the block raises."""
        with self._open().transact():
            yield

    def clear(self) -> None:
        """Forget everything, and remove the files that killed processes left."""
        cache = self._open()
        self._used.clear()
        cache.clear()
        self._sweep(cache)

    def close(self) -> None:
        """Write down what was used and close this thread's connection; the next use opens it again.

        Each thread that used the store must close it: Python 3.13 warns of a connection that is left open.
        """
        cache, self._cache = self._cache, None
        if cache is None:
            return
        try:
            if self._used:
                self._write_uses(cache, self._clock())
        finally:
            cache.close()

    def stats(self) -> StoreStats:
        """Return counts and sizes; entries that expired are counted until the next write removes them."""
        cache = self._open()
        return StoreStats(self._hits, self._misses, self._evictions, cache.entries(), cache.volume())

    def start_afresh(self) -> None:
        """Rename the directory to NAME.broken, unless another process has done so.

        An earlier NAME.broken is removed.
        """
        broken = self._opened
        cache, self._cache = self._cache, None
        self._opened = None
        self._used.clear()
        if cache is not None:
            cache.close()
        if broken is not None and self._identity() != broken:
            return
        aside = self._directory.with_name(f"{self._directory.name}.broken")
        if aside.exists():
            shutil.rmtree(aside)
        self._directory.rename(aside)

    def _open(self) -> BytesCache:
        """Return the open database."""
        if self._cache is None:
            with self._opening:
                if self._cache is None:
                    self._cache = self._connect()
        return self._cache

    def _connect(self) -> BytesCache:
        # Imported here: diskcache costs 10 to 20 ms, and a run that is turned off never needs it.
        from pytest_perfcache.store.bytes_cache import BytesCache

        self._opened = self._identity()
        try:
            cache = BytesCache(str(self._directory), self._lock_timeout, self._inline_bytes)
        except (TypeError, ValueError, AttributeError) as error:
            # diskcache stumbles over settings rows of types that it never writes.
            raise UnusableStoreError(f"the settings are not diskcache's: {error}") from error
        self._opened = self._identity()
        return cache

    def _identity(self) -> tuple[int, int] | None:
        """Return device and inode of the database file."""
        try:
            status = (self._directory / DATABASE).stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _time_to_live(self, key: str) -> float:
        """Return the seconds that `key` lives, spread evenly by the key's checksum."""
        spread = zlib.crc32(key.encode()) / 2**31 - 1
        return self._ttl * (1 + self._jitter * spread)

    def _write_uses(self, cache: BytesCache, now: float) -> None:
        """Write down the uses that were not written when they happened."""
        used, self._used = self._used, set()
        if used:
            cache.mark_used(used, now)

    def _sweep(self, cache: BytesCache) -> None:
        """Remove files without a row that are too old to belong to a write in progress."""
        self._swept = True
        named = cache.filenames()
        for path in self._directory.glob("??/??/*.val"):
            name = path.relative_to(self._directory).as_posix()
            if name not in named and _age_seconds(path) > _ORPHAN_SECONDS:
                cache.disk.remove(name)


def _age_seconds(path: Path) -> float:
    """Return the age of a file by the real clock, zero when it is gone."""
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0
