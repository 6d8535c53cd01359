"""What every store can do: a small key-value store of bytes, made to be composed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from pytest_perfcache.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager


class UnusableStoreError(StoreError):
    """What lies in the store's place cannot have been written by it: it must be replaced."""


class StoreStats(NamedTuple):
    """What a store did in its own life (hits, misses, evictions) and what it holds now."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    """Entries removed to make room; expired entries are not counted."""
    entries: int = 0
    size_bytes: int = 0
    """Bytes of all values, keys and bookkeeping not counted."""


class Store(Protocol):
    """A key-value store of bytes; keys are text that UTF-8 can encode."""

    def get(self, key: str) -> bytes | None:
        """Return the value of `key`, None when there is none."""

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the values of those keys that have one."""

    def set(self, key: str, value: bytes) -> None:
        """Remember `value`; when it is larger than the store's limit, only forget the old one."""

    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Remember all items, or none when it fails."""

    def delete(self, key: str) -> None:
        """Forget `key`, which need not exist."""

    def keys(self, prefix: str = "") -> list[str]:
        """Return the sorted keys that start with `prefix`."""

    def transaction(self) -> AbstractContextManager[None]:
        """Let one process at a time read, modify and write; may be nested.

        When the block raises, its writes may or may not have happened, each as a whole.
        """

    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None:
        """Release files and connections of this thread; the next use takes them up again."""

    def stats(self) -> StoreStats:
        """Return counts and sizes."""


@runtime_checkable
class Renewable(Protocol):
    """A store that can set what is broken aside and start afresh."""

    def start_afresh(self) -> None:
        """Set the broken contents aside; the next use finds an empty store."""
