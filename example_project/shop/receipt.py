"""Receipts as text."""

from pathlib import Path

from shop.cart import Cart
from shop.tax import TaxTable


def money(cents: int) -> str:
    """Return cents as an amount with two decimals."""
    return f"{cents // 100}.{cents % 100:02}"


def render(cart: Cart, table: TaxTable, region: str) -> str:
    """Return one line a product and the total."""
    lines = [f"{amount} x {product.name}: {money(product.cents * amount)}" for product, amount in cart.lines()]
    return "\n".join([*lines, f"Total: {money(cart.total(table, region))}", ""])


def write(path: Path, cart: Cart, table: TaxTable, region: str) -> None:
    """Write the receipt, in UTF-8."""
    path.write_text(render(cart, table, region), encoding="utf-8")
