"""The memory store forgets the least recently used when it is full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.store.memory import MemoryStore
from pytest_perfcache.store.protocol import StoreStats


def test_the_least_recently_used_value_makes_room() -> None:
    store = MemoryStore(30)
    store.set_many({"a": bytes(10), "b": bytes(10), "c": bytes(10)})
    store.get("a")

    store.set("d", bytes(10))

    assert store.keys() == ["a", "c", "d"]
    assert store.stats() == StoreStats(hits=1, misses=0, evictions=1, entries=3, size_bytes=30)


def test_a_value_that_never_fits_evicts_nothing_but_its_predecessor() -> None:
    store = MemoryStore(30)
    store.set_many({"a": bytes(10), "b": bytes(10)})

    store.set("a", bytes(31))

    assert store.keys() == ["b"]
    assert store.stats().evictions == 0


def test_hits_and_misses_are_counted_by_key() -> None:
    store = MemoryStore(30)
    store.set("a", b"")

    store.get_many(["a", "a", "b"])
    store.get("c")

    assert (store.stats().hits, store.stats().misses) == (1, 2)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12))), st.integers(0, 30))
def test_the_limit_holds_and_the_last_value_that_fits_stays(writes: list[tuple[str, int]], limit: int) -> None:
    store = MemoryStore(limit)
    for key, size in writes:
        store.set(key, bytes(size))

        stats = store.stats()
        assert stats.size_bytes == sum(map(len, store.get_many(store.keys()).values())) <= limit
        assert (store.get(key) is not None) is (size <= limit)
