"""What the list of a module's tests stands on, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.decide.collected import Collected, facts_of, pack, unpack
from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Fact

TEXTS = st.text(st.characters(), max_size=8)  # with halves of pairs, as file names have them
PRINTS = st.binary(min_size=16, max_size=16)
NAMES = st.text(st.characters(exclude_characters=":"), max_size=8)
KEYS = st.one_of(
    st.builds("file:{}".format, TEXTS),
    st.builds("block:{}::{}".format, NAMES, NAMES),
    st.builds("skeleton:{}".format, NAMES),
    st.builds("source:{}".format, NAMES),
)
FACTS = st.lists(st.builds(Fact, KEYS, PRINTS))
COLLECTED = st.builds(Collected.of, FACTS, FACTS, st.lists(TEXTS), st.lists(TEXTS))


@given(st.dictionaries(TEXTS, COLLECTED))
def test_what_is_written_is_read_again(modules: dict[str, Collected]) -> None:
    assert unpack(pack(modules)) == modules


def test_what_modules_have_in_common_is_written_once() -> None:
    facts = [Fact(f"skeleton:{number}.py", bytes([number]) * 16) for number in range(200)]
    module = Collected.of(facts, [], ["::test_a"], [])
    one, many = pack({"a": module}), pack({f"test_{number}.py": module for number in range(50)})
    assert len(many) < 2 * len(one)


@given(FACTS, FACTS)
def test_no_fact_is_lost(listed: list[Fact], standing: list[Fact]) -> None:
    found = Collected.of(listed, standing, (), ())
    besides = {fact for fact in standing if not fact.key.startswith("file:")} - set(listed)
    assert sorted(found.list_facts) == sorted(set(listed))
    assert {fact for source in found.standing for fact in source.facts} == besides


def test_the_facts_of_edited_files_are_found_by_path() -> None:
    one, other = bytes(16), bytes([1]) * 16
    cart = [Fact("block:cart.py::Cart.total", one), Fact("skeleton:cart.py", other)]
    found = Collected.of([], [*cart, Fact("source:shop.py", one)], (), ())
    assert sorted(facts_of(found.standing, {"cart.py"})) == cart
    assert not list(facts_of(found.listed, {"cart.py"}))


@given(st.binary(max_size=64))
def test_anything_else_is_refused_as_damaged(noise: bytes) -> None:
    facts = [Fact("file:a", b"a" * 16), Fact("skeleton:a.py", b"b" * 16)]
    data = pack({"test_a.py": Collected.of(facts, [], ["::test_a"], ["test_a.py"])})
    for damaged in (noise, data[: len(noise)], data[:-1]):
        if damaged != data:
            with pytest.raises(CodecError):
                unpack(damaged)
