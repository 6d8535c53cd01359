"""What the list of a module's tests stands on, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.decide.collected import Collected
from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Fact

TEXTS = st.text(st.characters(), max_size=8)  # with halves of pairs, as file names have them
FACTS = st.builds(Fact, TEXTS, st.binary(min_size=16, max_size=16))


@given(st.lists(FACTS).map(tuple), st.lists(TEXTS).map(tuple), st.lists(TEXTS).map(tuple))
def test_what_is_written_is_read_again(
    facts: tuple[Fact, ...], tests: tuple[str, ...], located: tuple[str, ...]
) -> None:
    collected = Collected(facts, tests, located)
    assert Collected.from_bytes(collected.to_bytes()) == collected


@given(st.binary(max_size=64))
def test_anything_else_is_refused_as_damaged(noise: bytes) -> None:
    data = Collected((Fact("file:a", b"a" * 16),), ("::test_a",), ("test_a.py",)).to_bytes()
    for damaged in (noise, data[: len(noise)], data[:-1]):
        if damaged != data:
            with pytest.raises(CodecError):
                Collected.from_bytes(damaged)
