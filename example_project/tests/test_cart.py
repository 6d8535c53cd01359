import pytest

from shop.cart import Cart, EmptyCartError
from shop.catalogue import Catalogue
from shop.tax import TaxTable


def test_a_new_cart_is_empty(cart: Cart) -> None:
    assert len(cart) == 0
    assert cart.lines() == []


def test_adding_twice_adds_up(cart: Cart, catalogue: Catalogue) -> None:
    cart.add(catalogue.get("apple"), 2)
    cart.add(catalogue.get("apple"))
    assert cart.lines() == [(catalogue.get("apple"), 3)]


def test_removing_takes_all_of_a_product(cart: Cart, catalogue: Catalogue) -> None:
    cart.add(catalogue.get("apple"), 2)
    cart.add(catalogue.get("bread"))
    cart.remove(catalogue.get("apple"))
    assert cart.lines() == [(catalogue.get("bread"), 1)]


def test_removing_what_is_not_there_is_no_error(cart: Cart, catalogue: Catalogue) -> None:
    cart.remove(catalogue.get("hammer"))
    assert len(cart) == 0


@pytest.mark.parametrize("amount", [0, -1])
def test_less_than_one_cannot_be_added(cart: Cart, catalogue: Catalogue, amount: int) -> None:
    with pytest.raises(ValueError, match="cannot add"):
        cart.add(catalogue.get("apple"), amount)


def test_the_subtotal_is_before_tax(cart: Cart, catalogue: Catalogue) -> None:
    cart.add(catalogue.get("novel"), 2)
    cart.add(catalogue.get("apple"))
    assert cart.subtotal() == 2560


@pytest.mark.parametrize(("atlases", "discount"), [(1, 0), (2, 580), (10, 2900)])
def test_large_carts_get_a_discount(cart: Cart, catalogue: Catalogue, atlases: int, discount: int) -> None:
    cart.add(catalogue.get("atlas"), atlases)
    assert cart.discount() == discount


@pytest.mark.parametrize(("region", "total"), [("north", 5800 - 580 + 406), ("south", 5800 - 580 + 232)])
def test_the_total_has_discount_and_tax(
    cart: Cart, catalogue: Catalogue, tax_table: TaxTable, region: str, total: int
) -> None:
    cart.add(catalogue.get("atlas"), 2)
    assert cart.total(tax_table, region) == total


def test_an_empty_cart_cannot_be_paid_for(cart: Cart, tax_table: TaxTable) -> None:
    with pytest.raises(EmptyCartError):
        cart.total(tax_table, "north")
