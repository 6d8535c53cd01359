"""A real database: these tests share one file, so they claim it."""

import sqlite3
from pathlib import Path

import pytest

from shop import inventory

pytestmark = pytest.mark.resource("db")


def test_what_was_never_delivered_is_not_there(stock: inventory.Inventory) -> None:
    assert stock.amount("apple") == 0


def test_deliveries_add_up(stock: inventory.Inventory) -> None:
    stock.receive("apple", 10)
    stock.receive("apple", 5)
    assert stock.amount("apple") == 15


def test_taking_leaves_the_rest(stock: inventory.Inventory) -> None:
    stock.receive("bread", 3)
    stock.take("bread", 2)
    assert stock.amount("bread") == 1


def test_taking_too_many_changes_nothing(stock: inventory.Inventory) -> None:
    stock.receive("bread", 3)
    with pytest.raises(inventory.OutOfStockError, match="bread"):
        stock.take("bread", 4)
    assert stock.amount("bread") == 3


def test_the_database_refuses_negative_amounts(stock: inventory.Inventory) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        stock.receive("bread", -1)


@pytest.mark.parametrize(("below", "skus"), [(1, []), (3, ["atlas"]), (100, ["apple", "atlas"])])
def test_what_runs_low_is_listed(stock: inventory.Inventory, below: int, skus: list[str]) -> None:
    stock.receive("apple", 10)
    stock.receive("atlas", 2)
    assert stock.running_low(below) == skus


def test_what_is_committed_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "own.sqlite"
    inventory.create(path)
    with sqlite3.connect(path) as connection:
        inventory.Inventory(connection).receive("novel", 7)
    connection.close()
    reopened = sqlite3.connect(path)
    assert inventory.Inventory(reopened).amount("novel") == 7
    reopened.close()
