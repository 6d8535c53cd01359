"""Stores are closed when their test ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.store.stores import MADE

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _close_stores() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()
