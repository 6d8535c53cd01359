"""An async client that asks suppliers for their prices."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

Transport = Callable[[str], Awaitable[str]]
"""Takes one request line and gives one answer line."""


class SupplierError(Exception):
    """The supplier gave no price."""


class SupplierClient:
    """Speaks to one supplier over a transport."""

    def __init__(self, transport: Transport, tries: int = 3) -> None:
        self._transport = transport
        self._tries = tries

    async def price(self, sku: str) -> int:
        """Return the price in cents; ask again after a lost connection, raise SupplierError in the end."""
        for _ in range(self._tries):
            try:
                answer = await self._transport(f"PRICE {sku}")
            except ConnectionError:
                continue
            status, _, value = answer.partition(" ")
            if status == "OK":
                return int(value)
            raise SupplierError(f"{sku}: {answer}")
        raise SupplierError(f"{sku}: no answer in {self._tries} tries")

    async def prices(self, skus: Iterable[str]) -> dict[str, int]:
        """Return several prices, asked for at the same time."""
        wanted = list(skus)
        found = await asyncio.gather(*(self.price(sku) for sku in wanted))
        return dict(zip(wanted, found, strict=True))
