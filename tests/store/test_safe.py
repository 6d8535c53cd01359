"""Whatever befalls a store is a miss or an ignored write, and at most one warning."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_perfcache.errors import StoreError
from pytest_perfcache.store.memory import MemoryStore
from pytest_perfcache.store.protocol import StoreStats, UnusableStoreError
from pytest_perfcache.store.safe import PATIENCE, SafeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


class FaultyStore(MemoryStore):
    """A store that counts what is asked of it, and fails while it has a fault."""

    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__(1000)
        self.fault = fault
        self.asked = 0

    def _meet(self) -> None:
        self.asked += 1
        if self.fault is not None:
            raise self.fault

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        self._meet()
        return super().get_many(keys)

    def get(self, key: str) -> bytes | None:
        self._meet()
        return super().get(key)

    def set(self, key: str, value: bytes) -> None:
        self._meet()
        super().set(key, value)

    def set_many(self, items: Mapping[str, bytes]) -> None:
        self._meet()
        super().set_many(items)

    def delete(self, key: str) -> None:
        self._meet()
        super().delete(key)

    def keys(self, prefix: str = "") -> list[str]:
        self._meet()
        return super().keys(prefix)

    def clear(self) -> None:
        self._meet()
        super().clear()

    def close(self) -> None:
        self._meet()

    def stats(self) -> StoreStats:
        self._meet()
        return super().stats()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._meet()
        yield
        self._meet()


class RenewableStore(FaultyStore):
    """A faulty store that loses its fault, or meets another, when it starts afresh."""

    def __init__(self, fault: Exception, then: Exception | None = None) -> None:
        super().__init__(fault)
        self.then = then
        self.renewals = 0

    def start_afresh(self) -> None:
        self.renewals += 1
        self.fault = self.then


FAULTS = [
    OSError(errno.ENOSPC, "No space left on device"),
    PermissionError("read-only"),
    TimeoutError("the database is locked"),
    sqlite3.OperationalError("disk I/O error"),
    sqlite3.DatabaseError("something else"),
    StoreError("foreign"),
    UnusableStoreError("corrupt"),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
]
ACTIONS: list[tuple[Callable[[SafeStore], object], object]] = [
    (lambda store: store.get("a"), None),
    (lambda store: store.get_many(["a"]), {}),
    (lambda store: store.set("a", b"1"), None),
    (lambda store: store.set_many({"a": b"1"}), None),
    (lambda store: store.delete("a"), None),
    (lambda store: store.keys(), []),
    (lambda store: store.clear(), None),
    (lambda store: store.close(), None),
    (lambda store: store.stats(), StoreStats()),
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("action", range(len(ACTIONS)))
def test_a_fault_is_a_miss_and_one_warning(fault: Exception, action: int) -> None:
    warnings: list[str] = []
    store = SafeStore(FaultyStore(fault), warnings.append)
    act, answer = ACTIONS[action]

    assert [act(store) for _ in range(5)] == [answer] * 5
    assert len(warnings) == 1
    assert str(fault) in warnings[0]


def test_a_store_that_keeps_failing_is_not_asked_any_more() -> None:
    inner = FaultyStore(TimeoutError("locked"))
    store = SafeStore(inner, lambda _: None)

    for _ in range(10):
        store.get("a")

    assert inner.asked == PATIENCE


def test_a_store_that_is_not_asked_any_more_is_still_closed() -> None:
    inner = FaultyStore(TimeoutError("locked"))
    store = SafeStore(inner, lambda _: None)
    for _ in range(10):
        store.get("a")

    store.close()

    assert inner.asked == PATIENCE + 1


def test_a_passing_fault_costs_one_write_and_no_more() -> None:
    inner = FaultyStore(OSError(errno.ENOSPC, "No space left on device"))
    store = SafeStore(inner, lambda _: None)
    store.set("a", b"lost")

    inner.fault = None
    store.set("b", b"kept")

    assert store.get_many(["a", "b"]) == {"b": b"kept"}


def test_a_mistake_of_the_caller_s_is_no_fault() -> None:
    store = SafeStore(FaultyStore(ZeroDivisionError()), lambda _: None)

    with pytest.raises(ZeroDivisionError):
        store.get("a")


def test_a_corrupt_store_starts_afresh_once() -> None:
    inner = RenewableStore(UnusableStoreError("corrupt"))
    warnings: list[str] = []
    store = SafeStore(inner, warnings.append)

    assert store.get("a") is None
    store.set("a", b"1")
    assert store.get("a") == b"1"

    inner.fault = UnusableStoreError("corrupt again")
    assert store.get("a") is None
    inner.fault = None
    assert store.get("a") is None
    assert inner.renewals == 1
    assert len(warnings) == 1


def test_a_corrupt_store_that_cannot_be_set_aside_is_not_asked_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = RenewableStore(UnusableStoreError("corrupt"))
    monkeypatch.setattr(inner, "start_afresh", FaultyStore(PermissionError("read-only")).close)
    warnings: list[str] = []
    store = SafeStore(inner, warnings.append)

    assert [store.get("a"), store.get("a")] == [None, None]
    assert inner.asked == 1
    assert len(warnings) == 1


class TestTransaction:
    def test_that_cannot_begin_writes_nothing_and_the_block_runs(self) -> None:
        inner = FaultyStore()
        store = SafeStore(inner, lambda _: None)
        store.set("a", b"1")
        inner.fault = TimeoutError("locked")
        ran = False

        with store.transaction():
            inner.fault = None
            assert store.get("a") is None
            store.set("a", b"2")
            ran = True

        assert ran
        assert store.get("a") == b"1"

    def test_that_fails_too_often_ends_the_asking_for_good(self) -> None:
        inner = FaultyStore()
        store = SafeStore(inner, lambda _: None)
        with store.transaction():
            inner.fault = TimeoutError("locked")
            for _ in range(PATIENCE):
                store.set("a", b"1")
            inner.fault = None

        store.set("a", b"1")

        assert inner.keys() == []

    def test_that_cannot_be_committed_is_a_fault(self) -> None:
        inner = FaultyStore()
        warnings: list[str] = []
        with SafeStore(inner, warnings.append).transaction():
            inner.fault = OSError(errno.ENOSPC, "No space left on device")

        assert len(warnings) == 1

    def test_raises_what_the_block_raises(self) -> None:
        store = SafeStore(FaultyStore(), lambda _: None)

        with pytest.raises(OSError, match="the block's own"), store.transaction():
            raise OSError("the block's own")

    def test_in_which_the_store_turns_out_corrupt_is_ended_first(self) -> None:
        inner = RenewableStore(UnusableStoreError("corrupt"))
        inner.fault = None
        store = SafeStore(inner, lambda _: None)

        with store.transaction():
            inner.fault = UnusableStoreError("corrupt")
            store.set("a", b"lost")
            store.set("b", b"not tried")
            assert inner.renewals == 0

        assert inner.renewals == 1
        store.set("c", b"kept")
        assert store.keys() == ["c"]
