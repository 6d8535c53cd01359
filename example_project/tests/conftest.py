"""Fixtures shared by all tests of the shop."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from shop import inventory, tax
from shop.cart import Cart
from shop.catalogue import Catalogue


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue()


@pytest.fixture(scope="session")
def tax_table() -> tax.TaxTable:
    return tax.read_table()


@pytest.fixture
def cart() -> Cart:
    return Cart()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database file for the whole session, made from the schema."""
    path = tmp_path_factory.mktemp("database") / "shop.sqlite"
    inventory.create(path)
    return path


@pytest.fixture
def stock(database: Path) -> Iterator[inventory.Inventory]:
    """An inventory whose changes are rolled back after the test."""
    connection = sqlite3.connect(database)
    try:
        yield inventory.Inventory(connection)
    finally:
        connection.rollback()
        connection.close()
