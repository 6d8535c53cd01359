"""What stands on an import or on a function that keeps something, by the names that are used."""

from __future__ import annotations

import pytest

from pytest_perfcache.trace.codes import Codes, nested
from pytest_perfcache.trace.keeper import Keeper
from pytest_perfcache.trace.named import Named
from pytest_perfcache.trace.stateful import Stateful
from pytest_perfcache.trace.unit import Unit, mask_of


class Project:
    """Its functions, and what its imports left."""

    def __init__(self) -> None:
        self.codes = Codes()
        self.named = Named(self.codes)

    def define(self, function: str) -> int:
        """The number of a function that is compiled from this source."""
        (code,) = nested(compile(function, "shop.py", "exec"))
        return self.codes.number("shop.py", code)

    def leave(self, module: str) -> Unit:
        """The unit of an import that left the module in its package."""
        unit = Unit(f"import of {module}")
        self.named.bound(module, unit)
        return unit

    def parts(self, name: str, *ran: int) -> list[Unit]:
        """What a unit of this name stands on in which these functions ran."""
        unit = Unit(name)
        self.named.use(unit, mask_of(ran))
        return list(unit.parts)


@pytest.fixture
def project() -> Project:
    return Project()


def test_a_test_stands_on_the_imports_whose_names_its_functions_use(project: Project) -> None:
    prices, taxes = project.leave("shop.prices"), project.leave("shop.taxes")
    one = project.define("def one(): return shop.prices")
    both = project.define("def both(): return shop.prices, shop.taxes")
    neither = project.define("def neither(): return shop")

    assert project.parts("test one", one, neither) == [prices]
    assert set(project.parts("test both", both)) == {prices, taxes}
    assert project.parts("test neither", neither) == []


def test_an_import_that_comes_later_counts_as_well(project: Project) -> None:
    first, one = project.leave("shop.prices"), project.define("def one(): return shop.prices")
    project.parts("test before", one)
    second = project.leave("old.prices")

    assert set(project.parts("test one", one)) == {first, second}


def test_a_function_that_is_read_later_counts_as_well(project: Project) -> None:
    prices, one = project.leave("shop.prices"), project.define("def one(): return shop.prices")
    project.parts("test before", one)
    two = project.define("def two(): return shop.prices")

    assert project.parts("test two", two) == [prices]


def test_an_import_does_not_stand_on_another_one_that_it_finds_by_chance(project: Project) -> None:
    project.leave("shop.prices")
    one = project.define("def one(): return shop.prices")

    assert project.parts("import of shop.taxes", one) == []


def test_who_uses_the_name_of_what_a_function_keeps_stands_on_the_function(project: Project) -> None:
    keeper = Keeper(0, "fill", Unit("what fill keeps"), Stateful())
    keeper.named.add("CACHE")
    project.named.add(keeper)
    one = project.define("def one(): return CACHE")

    assert project.parts("test one", one) == [keeper.unit]
    assert project.parts("test none") == []
