"""A fast store before a slow one."""

from __future__ import annotations

from contextlib import suppress

import pytest

from pytest_perfcache.store.memory import MemoryStore
from pytest_perfcache.store.protocol import StoreStats
from pytest_perfcache.store.tiers import TieredStore


@pytest.fixture
def fast() -> MemoryStore:
    return MemoryStore(100)


@pytest.fixture
def slow() -> MemoryStore:
    return MemoryStore(1000)


@pytest.fixture
def store(fast: MemoryStore, slow: MemoryStore) -> TieredStore:
    return TieredStore(fast, slow)


def test_what_the_slow_store_answers_fills_the_fast_one(
    store: TieredStore, fast: MemoryStore, slow: MemoryStore
) -> None:
    slow.set("a", b"1")

    assert [store.get("a"), store.get("a")] == [b"1", b"1"]
    assert slow.stats().hits == 1
    assert fast.stats().hits == 1


def test_only_what_the_fast_store_lacks_is_asked_of_the_slow_one(
    store: TieredStore, fast: MemoryStore, slow: MemoryStore
) -> None:
    slow.set_many({"a": b"1", "b": b"2"})
    fast.set("a", b"1")

    assert store.get_many(["a", "b", "c"]) == {"a": b"1", "b": b"2"}
    assert slow.stats().hits + slow.stats().misses == 2
    assert store.stats() == StoreStats(hits=2, misses=1, evictions=0, entries=2, size_bytes=2)


def test_a_write_reaches_both(store: TieredStore, fast: MemoryStore, slow: MemoryStore) -> None:
    store.set("a", b"1")

    assert fast.get("a") == slow.get("a") == b"1"


def test_a_transaction_sees_what_others_wrote_meanwhile(store: TieredStore, slow: MemoryStore) -> None:
    store.set("a", b"old")
    slow.set("a", b"theirs")

    with store.transaction():
        assert store.get("a") == b"theirs"
    assert store.get("a") == b"theirs"


def test_what_a_failed_transaction_wrote_is_not_kept_in_the_fast_store(store: TieredStore, fast: MemoryStore) -> None:
    store.set_many({"a": b"old", "b": b"untouched"})

    with suppress(ZeroDivisionError), store.transaction():
        store.set("a", b"new")
        raise ZeroDivisionError

    assert fast.keys() == ["b"]
