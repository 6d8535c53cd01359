"""Compiled files that may stem from an earlier content of their source are removed before they are loaded."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import pytest

from pytest_perfcache.trace.imports import drop_racy_bytecode

AGES = {"source": 100.0, "bytecode": 50.0}
"""Seconds."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "shop.py"
    path.write_text("PRICE = 1\n")
    bytecode_of(path).parent.mkdir()
    bytecode_of(path).touch()
    set_age(bytecode_of(path), AGES["bytecode"])
    return path


def bytecode_of(source: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(source)))


def set_age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_bytecode_older_than_its_source_is_removed(source: Path) -> None:
    drop_racy_bytecode(str(source))

    assert not bytecode_of(source).exists()


def test_bytecode_is_removed_when_its_source_was_edited_and_given_its_old_time_again(source: Path) -> None:
    source.write_text("PRICE = 2\n")
    set_age(source, AGES["source"])
    drop_racy_bytecode(str(source))

    assert not bytecode_of(source).exists()


def test_bytecode_younger_than_every_change_of_its_source_stays(source: Path) -> None:
    set_age(bytecode_of(source), -60.0)
    drop_racy_bytecode(str(source))

    assert bytecode_of(source).exists()
