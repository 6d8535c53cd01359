"""A store that never fails."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from pytest_perfcache.errors import StoreError
from pytest_perfcache.store.protocol import Renewable, StoreStats, UnusableStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_perfcache.store.protocol import Store

T = TypeVar("T")

PATIENCE: Final = 3
"""Faults after which the store is left alone: a locked database costs its lock timeout each time."""


class SafeStore:
    """Turn each fault of `inner` into a miss or an ignored write, and warn at most once.

    A corrupt store starts afresh once, if it is `Renewable`. When that has not helped, and after `PATIENCE`
    faults of any kind, it is not asked any more.
    """

    def __init__(self, inner: Store, warn: Callable[[str], None]) -> None:
        self._inner = inner
        self._warn = warn
        self._faults = 0
        self._depth = 0
        self._corrupt = False
        self._renewed = False
        self._off = False

    def get(self, key: str) -> bytes | None:
        """Return the value of `key`, None when there is none or it cannot be read."""
        return self._try(lambda: self._inner.get(key), None)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the values of those keys that have one, none when they cannot be read."""
        return self._try(lambda: self._inner.get_many(keys), {})

    def set(self, key: str, value: bytes) -> None:
        """Remember `value` if possible."""
        self._try(lambda: self._inner.set(key, value), None)

    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Remember all items if possible."""
        self._try(lambda: self._inner.set_many(items), None)

    def delete(self, key: str) -> None:
        """Forget `key` if possible."""
        self._try(lambda: self._inner.delete(key), None)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the sorted keys that start with `prefix`, none when they cannot be read."""
        return self._try(lambda: self._inner.keys(prefix), [])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block in `inner`'s transaction; when that cannot begin, the block finds a null store."""
        manager = self._inner.transaction()
        begun = self._try(lambda: manager.__enter__() is None, False)
        was_off, self._off = self._off, self._off or not begun
        self._depth += 1
        try:
            yield
        except BaseException as error:
            failure = error
            if begun:
                self._attempt(lambda: manager.__exit__(type(failure), failure, failure.__traceback__), None)
            raise
        else:
            if begun:
                self._attempt(lambda: manager.__exit__(None, None, None), None)
        finally:
            self._depth -= 1
            self._off = was_off or self._faults >= PATIENCE
            self._renew_if_corrupt()

    def clear(self) -> None:
        """Forget everything if possible."""
        self._try(self._inner.clear, None)

    def close(self) -> None:
        """Close `inner`, even when it is not asked any more: an open connection is a ResourceWarning."""
        self._attempt(self._inner.close, None)

    def stats(self) -> StoreStats:
        """Return counts and sizes, zeros when they cannot be read."""
        return self._try(self._inner.stats, StoreStats())

    def _try(self, action: Callable[[], T], otherwise: T) -> T:
        """Return what `action` returns, or `otherwise` when it meets a fault or is not worth trying."""
        return otherwise if self._off or self._corrupt else self._attempt(action, otherwise)

    def _attempt(self, action: Callable[[], T], otherwise: T) -> T:
        """Return what `action` returns, or `otherwise` when it meets a fault."""
        # Imported here, where the store is about to be used: it costs 5 ms.
        import sqlite3

        try:
            return action()
        except (sqlite3.Error, OSError, StoreError, UnicodeError) as fault:
            self._note(fault)
            return otherwise

    def _note(self, fault: Exception) -> None:
        """Warn of the first fault, and find out what is to be done."""
        self._faults += 1
        if self._faults == 1:
            self._warn(f"a fault of the cache is taken as a miss: {type(fault).__name__}: {fault}")
        self._corrupt = self._corrupt or _is_corrupt(fault)
        self._off = self._off or self._faults >= PATIENCE
        self._renew_if_corrupt()

    def _renew_if_corrupt(self) -> None:
        """Start afresh, once; a transaction is ended first."""
        if not self._corrupt or self._depth:
            return
        self._corrupt = False
        if self._renewed or not isinstance(self._inner, Renewable):
            self._off = True
            return
        self._renewed = True
        renew = self._inner.start_afresh
        if not self._try(lambda: renew() is None, False):
            self._off = True


def _is_corrupt(fault: Exception) -> bool:
    """Return whether a fault stays as long as the store's contents stay."""
    import sqlite3

    if isinstance(fault, sqlite3.Error):
        # SQLITE_ERROR: tables that are missing or of another shape.
        code = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
        return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
    return isinstance(fault, UnusableStoreError)
