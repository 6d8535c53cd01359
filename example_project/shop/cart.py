"""A customer's cart."""

from shop.catalogue import Product
from shop.tax import TaxTable, tax_on


class EmptyCartError(ValueError):
    """An empty cart was taken to the till."""


class Cart:
    """Products and how many of each."""

    def __init__(self) -> None:
        self._amounts: dict[Product, int] = {}

    def __len__(self) -> int:
        return sum(self._amounts.values())

    def add(self, product: Product, amount: int = 1) -> None:
        """Put `amount` of the product in; raise ValueError when that is less than one."""
        if amount < 1:
            raise ValueError(f"cannot add {amount} of {product.sku}")
        self._amounts[product] = self._amounts.get(product, 0) + amount

    def remove(self, product: Product) -> None:
        """Take all of the product out; a product that is not there is no error."""
        self._amounts.pop(product, None)

    def lines(self) -> list[tuple[Product, int]]:
        """Return products and amounts, by sku."""
        return sorted(self._amounts.items(), key=lambda line: line[0].sku)

    def subtotal(self) -> int:
        """Return the price of everything before discount and tax, in cents."""
        return sum(product.cents * amount for product, amount in self._amounts.items())

    def discount(self) -> int:
        """Return what is taken off, in cents: a tenth from 50.00 on."""
        subtotal = self.subtotal()
        return subtotal // 10 if subtotal >= 5000 else 0

    def tax(self, table: TaxTable, region: str) -> int:
        """Return the tax in cents, product by product."""
        percent = table[region]
        return sum(tax_on(product.cents * amount, percent[product.kind]) for product, amount in self.lines())

    def total(self, table: TaxTable, region: str) -> int:
        """Return what the customer pays, in cents; raise EmptyCartError when there is nothing to pay for."""
        if not self._amounts:
            raise EmptyCartError("the cart is empty")
        return self.subtotal() - self.discount() + self.tax(table, region)
