"""Every store behaves like a dictionary, whatever is done to it in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.store.stores import STORES

if TYPE_CHECKING:
    from pytest_perfcache.store.protocol import Store

KEYS = st.one_of(
    st.sampled_from(["", "a", "a/b", "a/b::c", "a\0", "a\0b", "A", "é", "a\U0010ffff", "%", "_"]),
    st.text(max_size=3),
)
# The disk store under test writes values from 64 bytes on to files.
VALUES = st.one_of(st.binary(max_size=8), st.integers(60, 70).map(bytes))


class AgreementMachine(RuleBasedStateMachine):
    """Do the same to a store and to a dictionary."""

    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.persistent = self.kind != "memory"
        self.store = self.open_store()
        self.model: dict[str, bytes] = {}

    def open_store(self) -> Store:
        return STORES[self.kind](self.root / "store")

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.root)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        assert self.store.get(key) == self.model.get(key)

    @rule(keys=st.lists(KEYS, max_size=5))
    def get_many(self, keys: list[str]) -> None:
        assert self.store.get_many(keys) == {key: self.model[key] for key in keys if key in self.model}

    @rule(key=KEYS, value=VALUES)
    def set(self, key: str, value: bytes) -> None:
        self.store.set(key, value)
        self.model[key] = value

    @rule(items=st.dictionaries(KEYS, VALUES, max_size=5))
    def set_many(self, items: dict[str, bytes]) -> None:
        self.store.set_many(items)
        self.model |= items

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.store.delete(key)
        self.model.pop(key, None)

    @rule(prefix=KEYS)
    def keys_with_a_prefix(self, prefix: str) -> None:
        assert self.store.keys(prefix) == sorted(key for key in self.model if key.startswith(prefix))

    @rule(key=KEYS, other=KEYS, value=VALUES)
    def read_modify_and_write_in_nested_transactions(self, key: str, other: str, value: bytes) -> None:
        with self.store.transaction():
            merged = (self.store.get(key) or b"")[:70] + value
            self.store.set(key, merged)
            self.model[key] = merged
            with self.store.transaction():
                self.store.delete(other)
                self.model.pop(other, None)
            assert self.store.get(key) == self.model.get(key)

    @rule()
    def clear(self) -> None:
        self.store.clear()
        self.model.clear()

    @rule()
    def close(self) -> None:
        self.store.close()

    @rule()
    def reopen(self) -> None:
        if self.persistent:
            self.store.close()
            self.store = self.open_store()

    @invariant()
    def holds_the_same_keys(self) -> None:
        assert self.store.keys() == sorted(self.model)

    @invariant()
    def counts_the_same_entries_and_bytes(self) -> None:
        stats = self.store.stats()
        assert (stats.entries, stats.size_bytes) == (len(self.model), sum(map(len, self.model.values())))
        assert stats.evictions == 0

    @invariant()
    def keeps_no_file_that_no_value_needs(self) -> None:
        files = list(self.root.rglob("*.val"))
        large = [value for value in self.model.values() if len(value) >= 64]
        assert len(files) == (len(large) if self.persistent else 0)


@pytest.mark.parametrize("kind", STORES)
def test_a_store_behaves_like_a_dictionary(kind: str) -> None:
    run_state_machine_as_test(
        type("Machine", (AgreementMachine,), {"kind": kind}),
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
