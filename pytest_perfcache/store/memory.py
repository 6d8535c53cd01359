"""A store in this process's memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_perfcache.store.protocol import StoreStats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class MemoryStore:
    """Keep the most recently used values, up to `limit_bytes` of them."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._hits = 0
        self._misses = 0
        self._evictions = 0
        self._lock = threading.RLock()

    def get(self, key: str) -> bytes | None:
        """Return the value of `key`, None when there is none."""
        with self._lock:
            value = self._values.get(key)
            if value is None:
                self._misses += 1
                return None
            self._hits += 1
            self._values.move_to_end(key)
            return value

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the values of those keys that have one."""
        found = ((key, self.get(key)) for key in dict.fromkeys(keys))
        return {key: value for key, value in found if value is not None}

    def set(self, key: str, value: bytes) -> None:
        """Remember `value`, evicting the least recently used ones to make room."""
        with self._lock:
            self.delete(key)
            if len(value) > self._limit:
                return
            self._values[key] = value
            self._size += len(value)
            while self._size > self._limit:
                _, evicted = self._values.popitem(last=False)
                self._size -= len(evicted)
                self._evictions += 1

    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Remember all items."""
        with self._lock:
            for key, value in items.items():
                self.set(key, value)

    def delete(self, key: str) -> None:
        """Forget `key`, which need not exist."""
        with self._lock:
            self._size -= len(self._values.pop(key, b""))

    def keys(self, prefix: str = "") -> list[str]:
        """Return the sorted keys that start with `prefix`."""
        with self._lock:
            return sorted(key for key in self._values if key.startswith(prefix))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the lock; nothing is undone when the block raises."""
        with self._lock:
            yield

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._size = 0

    def close(self) -> None:
        """Nothing to release."""

    def stats(self) -> StoreStats:
        """Return counts and sizes."""
        with self._lock:
            return StoreStats(self._hits, self._misses, self._evictions, len(self._values), self._size)
