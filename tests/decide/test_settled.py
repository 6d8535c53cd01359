"""The table of settled modules: what it claims is never more than what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.decide.settled import KEPT, Findings, Settled, State, bits, whole_files
from pytest_perfcache.errors import CodecError
from pytest_perfcache.model import Fact

A, B = b"a" * 16, b"b" * 16
WORLDS = st.fixed_dictionaries({f"file:{name}": st.sampled_from((A, B)) for name in "uvwx"})


def found(
    path: str,
    facts: dict[str, bytes],
    *,
    items: bytes = A,
    oldest: float = 10.0,
    parametrized: bool = False,
    selection: bytes = A,
    left_out: int = 0,
    told: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> Findings:
    state = State(0, 3, 1.5, oldest, items, "tests", 0, selection, left_out, B, told)
    return Findings(path, facts, state, doubtful=parametrized)


def add(table: Settled, findings: Findings) -> None:
    """Enter what was found in a world in which just this holds."""
    table.add(findings, table.untrue(lambda key: findings.facts.get(key, b"")))


def stands(table: Settled, world: dict[str, bytes], earliest: float = 0.0, selection: bytes = A) -> set[str]:
    return set(table.standing(table.untrue(lambda key: world.get(key, b"")), earliest, selection))


def test_a_module_stands_while_all_of_its_facts_hold() -> None:
    table = Settled()
    add(table, found("test_a.py", {"file:u": A, "file:v": A}))
    add(table, found("test_b.py", {"file:v": A}))
    assert stands(table, {"file:u": A, "file:v": A}) == {"test_a.py", "test_b.py"}
    assert stands(table, {"file:u": B, "file:v": A}) == {"test_b.py"}
    assert stands(table, {"file:u": A}) == set()


def test_an_earlier_state_stands_again_when_the_world_goes_back() -> None:
    table = Settled()
    add(table, found("test_a.py", {"file:u": A}))
    add(table, found("test_a.py", {"file:u": B}))
    assert stands(table, {"file:u": A}) == stands(table, {"file:u": B}) == {"test_a.py"}


def test_what_a_selection_took_away_is_not_known_under_another() -> None:
    table = Settled()
    add(table, found("test_a.py", {"file:u": A}, selection=B, left_out=2))
    assert stands(table, {"file:u": A}, selection=B) == {"test_a.py"}
    assert stands(table, {"file:u": A}) == set()


def test_what_was_known_as_a_whole_is_known_under_each_selection() -> None:
    table = Settled()
    add(table, found("test_a.py", {"file:u": A}))
    assert stands(table, {"file:u": A}, selection=B) == {"test_a.py"}
    add(table, found("test_a.py", {"file:u": A}, selection=B, left_out=2))
    assert stands(table, {"file:u": A}) == {"test_a.py"}


def test_two_selections_of_one_module_are_known_side_by_side() -> None:
    table = Settled()
    add(table, found("test_a.py", {"file:u": A}, selection=A, left_out=2))
    add(table, found("test_a.py", {"file:u": A}, selection=B, left_out=1))
    again = Settled.from_bytes(table.to_bytes())
    for selection in (A, B):
        assert stands(table, {"file:u": A}, selection=selection) == {"test_a.py"}
        assert stands(again, {"file:u": A}, selection=selection) == {"test_a.py"}


def test_only_so_many_states_are_kept() -> None:
    table = Settled()
    for number in range(KEPT + 1):
        add(table, found("test_a.py", {"file:u": bytes([number]) * 16}))
    assert stands(table, {"file:u": bytes([0]) * 16}) == set()
    assert stands(table, {"file:u": bytes([1]) * 16}) == {"test_a.py"}


def test_a_module_with_an_old_record_does_not_stand() -> None:
    table = Settled()
    add(table, found("test_a.py", {"file:u": A}, oldest=10.0))
    assert stands(table, {"file:u": A}, earliest=10.0) == {"test_a.py"}
    assert stands(table, {"file:u": A}, earliest=10.1) == set()


def test_computed_names_are_believed_when_they_were_found_twice() -> None:
    table = Settled()
    add(table, found("test_a.py", {"file:u": A}, parametrized=True))
    assert stands(table, {"file:u": A}) == set()
    add(table, found("test_a.py", {"file:u": A}, parametrized=True))
    assert stands(table, {"file:u": A}) == {"test_a.py"}


def test_more_facts_about_the_same_world_do_not_make_the_names_less_believed() -> None:
    table = Settled()
    first = found("test_a.py", {"file:u": A}, parametrized=True)
    table.add(first, 0)
    table.add(found("test_a.py", {"file:u": A, "file:v": B}, parametrized=True), 0)
    assert stands(table, {"file:u": A, "file:v": B}) == {"test_a.py"}
    assert stands(table, {"file:u": A, "file:v": A}) == set()


@pytest.mark.parametrize("parametrized", [False, True])
def test_names_that_differ_from_run_to_run_are_never_believed(parametrized: bool) -> None:
    table = Settled()
    for items in (A, B, B, B):
        add(table, found("test_a.py", {"file:u": A}, items=items, parametrized=parametrized))
    assert stands(table, {"file:u": A}) == set()


def shaken(table: Settled, world: dict[str, bytes], earliest: float = 0.0, selection: bytes = A) -> dict[str, int]:
    untrue = table.untrue(lambda key: world.get(key, b""))
    return {path: len(states) for path, states in table.shaken(untrue, earliest, selection).items()}


def test_a_module_is_shaken_when_nothing_but_contents_of_files_differs() -> None:
    table = Settled()
    add(table, found("test_a.py", {"source:u": A, "file:v": A}))
    add(table, found("test_b.py", {"file:v": A}))
    assert shaken(table, {"source:u": A, "file:v": A}) == {}
    assert shaken(table, {"source:u": B, "file:v": A}) == {"test_a.py": 1}
    assert shaken(table, {"source:u": B, "file:v": B}) == {}
    assert shaken(table, {"source:u": A, "file:v": B}) == {}


def test_a_module_of_which_another_state_stands_is_not_shaken() -> None:
    table = Settled()
    add(table, found("test_a.py", {"source:u": A}))
    add(table, found("test_a.py", {"source:u": B}))
    assert shaken(table, {"source:u": A}) == {}
    assert shaken(table, {"source:u": b"c" * 16}) == {"test_a.py": 2}


def test_only_states_that_would_stand_are_shaken() -> None:
    table = Settled()
    add(table, found("test_a.py", {"source:u": A}, parametrized=True))
    add(table, found("test_b.py", {"source:u": A}, selection=A, left_out=1))
    add(table, found("test_c.py", {"source:u": A}, oldest=10.0))
    world = {"source:u": B}
    assert shaken(table, world) == {"test_b.py": 1, "test_c.py": 1}
    assert shaken(table, world, selection=B) == {"test_c.py": 1}
    assert shaken(table, world, earliest=10.1) == {}


def test_a_dropped_module_does_not_stand() -> None:
    table = Settled()
    add(table, found("test_a.py", {"file:u": A}))
    table.drop("test_a.py")
    table.drop("never seen")
    assert stands(table, {"file:u": A}) == set()


@given(
    st.lists(st.tuples(st.sampled_from(("test_a.py", "test_b.py")), WORLDS, st.sets(st.sampled_from("uvwx")))), WORLDS
)
def test_what_stands_was_found_in_just_this_world(
    steps: list[tuple[str, dict[str, bytes], set[str]]], now: dict[str, bytes]
) -> None:
    table = Settled()
    for path, world, names in steps:
        add(table, found(path, {f"file:{name}": world[f"file:{name}"] for name in names}))
    copy = Settled.from_bytes(table.to_bytes())
    assert stands(copy, now) == stands(table, now)
    for path in stands(table, now):
        assert any(
            path == other and all(world[f"file:{name}"] == now[f"file:{name}"] for name in names)
            for other, world, names in steps
        )


def test_facts_that_no_state_needs_are_not_written() -> None:
    table = Settled()
    for number in range(20):
        add(table, found("test_a.py", {f"file:{number}": A}))
    assert len(table.facts) == 20
    assert len(Settled.from_bytes(table.to_bytes()).facts) == KEPT


@given(st.binary(max_size=64))
def test_anything_else_is_refused_as_damaged(noise: bytes) -> None:
    whole = Settled()
    add(whole, found("test_a.py", {"file:u": A}))
    data = whole.to_bytes()
    for damaged in (noise, data[: len(noise)], data[:-1], data[:9] + noise):
        if damaged != data:
            with pytest.raises(CodecError):
                Settled.from_bytes(damaged)


@given(st.sets(st.integers(0, 300)))
def test_bits_are_the_numbers_that_a_mask_was_made_of(numbers: set[int]) -> None:
    assert set(bits(sum(1 << number for number in numbers))) == numbers


def test_blocks_and_skeletons_become_facts_of_their_files() -> None:
    facts = [Fact("block:a.py::C.f", A), Fact("skeleton:a.py", A), Fact("file:x", B)]
    assert whole_files(facts) == {Fact("source:a.py", A), Fact("file:x", B)}
