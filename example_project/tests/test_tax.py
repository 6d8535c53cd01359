import unittest
from typing import ClassVar

import pytest

from shop import tax


class TaxTableTest(unittest.TestCase):
    """The data file, read once for the class."""

    table: ClassVar[tax.TaxTable]

    @classmethod
    def setUpClass(cls) -> None:
        cls.table = tax.read_table()

    def test_each_region_taxes_the_same_kinds(self) -> None:
        assert {frozenset(percent) for percent in self.table.values()} == {frozenset({"book", "food", "tool"})}

    def test_no_rate_is_above_a_quarter(self) -> None:
        assert all(0 <= rate <= 25 for percent in self.table.values() for rate in percent.values())

    def test_the_region_of_this_shop_is_known(self) -> None:
        assert tax.current_region() in self.table


def test_the_region_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_REGION", "west")
    assert tax.current_region() == "west"


def test_without_a_region_the_shop_is_in_the_north(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_REGION", raising=False)
    assert tax.current_region() == "north"


@pytest.mark.parametrize(("cents", "percent", "expected"), [(1000, 7, 70), (50, 5, 3), (49, 5, 2), (0, 19, 0)])
def test_half_a_cent_is_rounded_up(cents: int, percent: int, expected: int) -> None:
    assert tax.tax_on(cents, percent) == expected
