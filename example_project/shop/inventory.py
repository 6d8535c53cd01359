"""What is in stock, in an SQLite database."""

import sqlite3
from pathlib import Path

SCHEMA_FILE = Path(__file__).parent.parent / "data" / "schema.sql"


class OutOfStockError(Exception):
    """Less is there than was asked for."""


def create(path: Path) -> None:
    """Make an empty database at `path`."""
    connection = sqlite3.connect(path)
    try:
        connection.executescript(SCHEMA_FILE.read_text(encoding="utf-8"))
    finally:
        connection.close()


class Inventory:
    """Amounts by sku. What is done inside one transaction of the connection is the caller's to commit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def amount(self, sku: str) -> int:
        """Return how many are there; of a product never seen, none."""
        row = self._connection.execute("SELECT amount FROM stock WHERE sku = ?", (sku,)).fetchone()
        return 0 if row is None else int(row[0])

    def receive(self, sku: str, amount: int) -> None:
        """Add a delivery."""
        self._connection.execute(
            "INSERT INTO stock VALUES (?, ?) ON CONFLICT (sku) DO UPDATE SET amount = amount + excluded.amount",
            (sku, amount),
        )

    def take(self, sku: str, amount: int) -> None:
        """Take some out; raise OutOfStockError, and change nothing, when there are too few."""
        changed = self._connection.execute(
            "UPDATE stock SET amount = amount - ? WHERE sku = ? AND amount >= ?", (amount, sku, amount)
        ).rowcount
        if not changed:
            raise OutOfStockError(sku)

    def running_low(self, below: int) -> list[str]:
        """Return the skus of which fewer than `below` are left, by name."""
        rows = self._connection.execute("SELECT sku FROM stock WHERE amount < ? ORDER BY sku", (below,))
        return [str(sku) for (sku,) in rows]
