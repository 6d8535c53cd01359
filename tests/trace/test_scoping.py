"""What runs belongs to all scopes that are open, though it is noted with the innermost alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.trace.keeper import Keeper
from pytest_perfcache.trace.scoping import OpenScopes
from pytest_perfcache.trace.stateful import Stateful
from pytest_perfcache.trace.unit import Unit

Step = tuple[str, int]
STEPS = st.lists(st.tuples(st.sampled_from(("open", "run", "close", "unit")), st.integers(0, 4)), max_size=40)


def keepers() -> list[Keeper]:
    return [Keeper(number, "f", Unit(f"scope {number}"), Stateful()) for number in range(5)]


@given(STEPS)
def test_it_is_as_if_everybody_had_been_told_at_once(steps: list[Step]) -> None:
    lazy, eager = keepers(), keepers()
    lazy_units, eager_units = [Unit("a")], [Unit("a")]
    awaited: set[int] = set()
    scopes = OpenScopes(awaited)
    stack: list[int] = []
    for at, (kind, number) in enumerate(steps):
        if kind == "open":
            scopes.open(lazy[number])
            stack.append(number)
        elif kind == "run":
            scopes.note([at], lazy_units[-1])
            for unit in (eager_units[-1], *(eager[one].unit for one in stack)):
                unit.blocks.add(at)
        elif kind == "close" and number in stack:
            scopes.close(lazy[number], lazy_units[-1])
            while stack.pop() != number:
                pass
        elif kind == "unit":
            scopes.share(lazy_units[-1])
            for units in (lazy_units, eager_units):
                units.append(Unit("next"))
        assert [keeper.number for keeper in scopes.keepers] == stack
        assert awaited == set(stack)
    scopes.share(lazy_units[-1])
    assert [unit.blocks for unit in lazy_units] == [unit.blocks for unit in eager_units]
    assert [keeper.unit.blocks for keeper in lazy] == [keeper.unit.blocks for keeper in eager]


def test_after_the_end_nothing_is_open() -> None:
    awaited: set[int] = set()
    scopes, (first, *_), unit = OpenScopes(awaited), keepers(), Unit("test")
    scopes.open(first)
    scopes.clear()
    assert not awaited
    scopes.note([1], unit)
    assert not scopes.keepers
    assert unit.blocks == {1}
    assert not first.unit.blocks
