from pathlib import Path

import pytest

from shop import receipt, tax
from shop.cart import Cart
from shop.catalogue import Catalogue


@pytest.mark.parametrize(("cents", "text"), [(0, "0.00"), (5, "0.05"), (2900, "29.00")])
def test_money_has_two_decimals(cents: int, text: str) -> None:
    assert receipt.money(cents) == text


def test_a_receipt_lists_the_products_by_sku(cart: Cart, catalogue: Catalogue, tax_table: tax.TaxTable) -> None:
    cart.add(catalogue.get("bread"))
    cart.add(catalogue.get("apple"), 2)
    lines = receipt.render(cart, tax_table, "north").splitlines()
    assert lines == ["2 x A crisp apple: 1.20", "1 x A loaf of rye bread: 3.40", "Total: 4.83"]


def test_a_receipt_is_written_for_the_region_of_the_shop(
    cart: Cart, catalogue: Catalogue, tax_table: tax.TaxTable, tmp_path: Path
) -> None:
    cart.add(catalogue.get("novel"))
    path = tmp_path / "receipt.txt"
    receipt.write(path, cart, tax_table, tax.current_region())
    assert path.read_text(encoding="utf-8") == receipt.render(cart, tax_table, tax.current_region())
