"""A fast store before a slow one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_perfcache.store.protocol import Store, StoreStats


class TieredStore:
    """Read from `fast`, then from `slow`, which fills `fast`; write to both.

    What other processes write meanwhile is seen in a transaction, where `fast` is not asked.
    """

    def __init__(self, fast: Store, slow: Store) -> None:
        self._fast = fast
        self._slow = slow
        self._depth = 0
        self._written: set[str] = set()
        self._hits = 0
        self._misses = 0

    def get(self, key: str) -> bytes | None:
        """Return the value of `key`, None when there is none."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the values of those keys that have one, asking `slow` once."""
        wanted = dict.fromkeys(keys)
        found = {} if self._depth else self._fast.get_many(list(wanted))
        absent = [key for key in wanted if key not in found]
        if absent:
            fetched = self._slow.get_many(absent)
            self._fast.set_many(fetched)
            found |= fetched
        self._hits += len(found)
        self._misses += len(wanted) - len(found)
        return found

    def set(self, key: str, value: bytes) -> None:
        """Remember `value` in both."""
        self.set_many({key: value})

    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Remember all items in `slow`, then in `fast`."""
        self._note(items)
        self._slow.set_many(items)
        self._fast.set_many(items)

    def delete(self, key: str) -> None:
        """Forget `key` in both."""
        self._note([key])
        self._fast.delete(key)
        self._slow.delete(key)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the sorted keys of both that start with `prefix`."""
        return sorted({*self._fast.keys(prefix), *self._slow.keys(prefix)})

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold `slow`'s transaction; when it fails, `fast` forgets what was written in it."""
        try:
            with self._slow.transaction():
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
        except BaseException:
            for key in self._written:
                self._fast.delete(key)
            raise
        finally:
            if not self._depth:
                self._written.clear()

    def clear(self) -> None:
        """Forget everything in both."""
        self._note(self._fast.keys())
        self._fast.clear()
        self._slow.clear()

    def close(self) -> None:
        """Close both."""
        self._fast.close()
        self._slow.close()

    def stats(self) -> StoreStats:
        """Return what was asked of both together, and `slow`'s evictions, entries and size."""
        return self._slow.stats()._replace(hits=self._hits, misses=self._misses)

    def _note(self, keys: Iterable[str]) -> None:
        if self._depth:
            self._written.update(keys)
