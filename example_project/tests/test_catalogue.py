import pytest

from shop.catalogue import PRODUCTS, Catalogue, Product, UnknownProductError


def test_every_sku_is_there_once(catalogue: Catalogue) -> None:
    assert len(catalogue) == len(PRODUCTS)


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.sku)
def test_each_product_is_found_by_its_sku(catalogue: Catalogue, product: Product) -> None:
    assert catalogue.get(product.sku) is product


def test_an_unknown_sku_is_named_in_the_error(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownProductError, match="sextant"):
        catalogue.get("sextant")


@pytest.mark.parametrize(("word", "skus"), [("ATLAS", ["atlas"]), ("of", ["bread", "atlas"]), ("violin", [])])
def test_search_is_by_name_and_cheapest_first(catalogue: Catalogue, word: str, skus: list[str]) -> None:
    assert [product.sku for product in catalogue.search(word)] == skus
