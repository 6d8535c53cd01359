"""The hooks by which other plugins and conftest files tell pytest-perfcache what it cannot see."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


@pytest.hookspec(firstresult=True)
def pytest_perfcache_uncacheable(item: pytest.Item) -> str | None:
    """Why this test must not be cached, in words; None where nothing speaks against it. The first answer counts."""


@pytest.hookspec
def pytest_perfcache_depends(item: pytest.Item) -> Iterable[str] | None:
    """What else this test depends on: glob patterns of files from the root, or ``env:NAME`` for a variable."""
