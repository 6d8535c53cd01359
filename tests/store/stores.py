"""Stores of every kind, made alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_perfcache.store.disk import DiskStore
from pytest_perfcache.store.memory import MemoryStore
from pytest_perfcache.store.safe import SafeStore
from pytest_perfcache.store.tiers import TieredStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_perfcache.store.protocol import Store

MEGABYTE = 1_000_000
WEEK_SECONDS = 7 * 86_400.0

MADE: list[DiskStore] = []
"""Disk stores that the end of a test closes."""


class Clock:
    """A clock that stands until it is moved: in 2096, so that nothing has expired by the real clock."""

    def __init__(self) -> None:
        self.now = 4_000_000_000.0

    def __call__(self) -> float:
        return self.now


def disk_store(
    directory: Path,
    *,
    size_limit_bytes: int = MEGABYTE,
    ttl_seconds: float = WEEK_SECONDS,
    inline_bytes: int = 64,
    lock_timeout_seconds: float = 5.0,
    clock: Callable[[], float] | None = None,
) -> DiskStore:
    """Return a disk store that puts values from 64 bytes on into files."""
    store = DiskStore(
        directory,
        size_limit_bytes,
        ttl_seconds,
        inline_bytes=inline_bytes,
        lock_timeout_seconds=lock_timeout_seconds,
        clock=clock or Clock(),
    )
    MADE.append(store)
    return store


def fail_on_warning(message: str) -> None:
    """Be the `warn` of a SafeStore that must not meet a fault."""
    raise AssertionError(message)


def safe_store(directory: Path) -> SafeStore:
    """Return a safe disk store that must not meet a fault."""
    return SafeStore(disk_store(directory), fail_on_warning)


STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(MEGABYTE),
    "disk": disk_store,
    "safe": safe_store,
    "tiered": lambda directory: TieredStore(MemoryStore(MEGABYTE), safe_store(directory)),
    "tiered, memory small": lambda directory: TieredStore(MemoryStore(40), safe_store(directory)),
}
