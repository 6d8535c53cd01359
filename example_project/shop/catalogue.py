"""What the shop sells."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Product:
    """One thing on sale; `cents` is the price before tax, `kind` is what the tax depends on."""

    sku: str
    name: str
    kind: str
    cents: int


PRODUCTS = (
    Product("apple", "A crisp apple", "food", 60),
    Product("bread", "A loaf of rye bread", "food", 340),
    Product("atlas", "An atlas of small islands", "book", 2900),
    Product("novel", "A novel about a lighthouse", "book", 1250),
    Product("hammer", "A hammer", "tool", 1899),
)


class UnknownProductError(LookupError):
    """The catalogue has no product of this sku."""


class Catalogue:
    """Products by sku."""

    def __init__(self, products: Iterable[Product] = PRODUCTS) -> None:
        self._products = {product.sku: product for product in products}

    def __len__(self) -> int:
        return len(self._products)

    def get(self, sku: str) -> Product:
        """Return the product; raise UnknownProductError when there is none."""
        try:
            return self._products[sku]
        except KeyError:
            raise UnknownProductError(sku) from None

    def search(self, word: str) -> list[Product]:
        """Return the products whose name holds `word`, in any case, cheapest first."""
        found = (product for product in self._products.values() if word.lower() in product.name.lower())
        return sorted(found, key=lambda product: product.cents)
