"""Async tests with nothing but the standard library: `asyncio.run`, and unittest's async test case."""

import asyncio
import unittest

import pytest

from shop.supplier import SupplierClient, SupplierError


class Supplier:
    """A supplier in memory that loses the first `lost` connections."""

    def __init__(self, prices: dict[str, int], lost: int = 0) -> None:
        self._prices = prices
        self._lost = lost

    async def __call__(self, request: str) -> str:
        await asyncio.sleep(0)
        if self._lost:
            self._lost -= 1
            raise ConnectionError
        sku = request.removeprefix("PRICE ")
        return f"OK {self._prices[sku]}" if sku in self._prices else "UNKNOWN"


def test_a_price_is_asked_for() -> None:
    client = SupplierClient(Supplier({"apple": 31}))
    assert asyncio.run(client.price("apple")) == 31


def test_an_unknown_product_is_an_error() -> None:
    client = SupplierClient(Supplier({}))
    with pytest.raises(SupplierError, match="sextant: UNKNOWN"):
        asyncio.run(client.price("sextant"))


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_connection_is_tried_again(lost: int) -> None:
    client = SupplierClient(Supplier({"apple": 31}, lost=lost), tries=3)
    assert asyncio.run(client.price("apple")) == 31


def test_in_the_end_it_gives_up() -> None:
    client = SupplierClient(Supplier({"apple": 31}, lost=3), tries=3)
    with pytest.raises(SupplierError, match="no answer in 3 tries"):
        asyncio.run(client.price("apple"))


class SeveralPricesTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.client = SupplierClient(Supplier({"apple": 31, "bread": 170}))

    async def test_several_prices_come_at_once(self) -> None:
        assert await self.client.prices(["bread", "apple"]) == {"bread": 170, "apple": 31}

    async def test_one_unknown_product_fails_them_all(self) -> None:
        with pytest.raises(SupplierError):
            await self.client.prices(["apple", "sextant"])
