"""How long a function has its scope that may keep something."""

from __future__ import annotations

from pytest_perfcache.trace.keeper import Keeper
from pytest_perfcache.trace.stateful import Stateful
from pytest_perfcache.trace.unit import Unit


def new() -> Keeper:
    return Keeper(1, "load", Unit("what load keeps"), Stateful(holders=("self",)))


def test_a_unit_that_finds_something_kept_doubles_the_patience_once() -> None:
    keeper = new()
    first = keeper.patience
    keeper.units = 3
    for _ in range(50):
        keeper.found()
    assert (keeper.patience, keeper.units) == (2 * first, 0)


def test_patience_has_an_end() -> None:
    keeper = new()
    for _ in range(50):
        keeper.units = 1
        keeper.found()
    assert keeper.patience < 1000
