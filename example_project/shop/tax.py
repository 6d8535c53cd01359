"""Taxes by region and kind of product, from `data/tax.json`."""

import json
import os
from pathlib import Path

TAX_FILE = Path(__file__).parent.parent / "data" / "tax.json"

TaxTable = dict[str, dict[str, int]]


def read_table(path: Path = TAX_FILE) -> TaxTable:
    """Return percent by region and kind."""
    table: TaxTable = json.loads(path.read_text(encoding="utf-8"))
    return table


def current_region() -> str:
    """Return the region this shop stands in: `SHOP_REGION`, or `north`."""
    return os.environ.get("SHOP_REGION", "north")


def tax_on(cents: int, percent: int) -> int:
    """Return the tax in cents, half a cent rounded up."""
    return (cents * percent + 50) // 100
