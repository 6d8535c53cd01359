"""What source files consist of, kept from one run to the next."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.errors import CodecError
from pytest_perfcache.facts.analyses import Analyses, decode, encode
from pytest_perfcache.facts.digest import fingerprint
from pytest_perfcache.facts.source import analyse
from tests.facts.test_source import FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_analysis_comes_back_as_it_was(file: Path) -> None:
    analysis = analyse(file.read_bytes())
    assert analysis is not None
    assert decode(encode(analysis)) == analysis


@given(st.binary())
def test_any_other_bytes_are_told_as_damaged(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode(data)


@pytest.mark.parametrize("change", [lambda data: data[:-3], lambda data: data[::-1]])
def test_damaged_bytes_make_the_file_be_analysed_again(change) -> None:  # type: ignore[no-untyped-def]
    source = b"def f():\n    return 1\n"
    first = Analyses(lambda _: None)
    made = first.of(fingerprint(source), lambda: source)
    damaged = {name: change(data) for name, data in first.fresh.items()}
    again = Analyses(damaged.get)
    assert again.of(fingerprint(source), lambda: source) == made
    assert again.fresh == first.fresh


def test_what_was_kept_is_not_analysed_again() -> None:
    source = b"PRICE = 1\n"
    first = Analyses(lambda _: None)
    made = first.of(fingerprint(source), lambda: source)
    again = Analyses(first.fresh.get)
    assert again.of(fingerprint(source), lambda: None) == made
    assert made is not None
    assert not again.fresh


def test_what_is_no_python_is_not_kept() -> None:
    source = b"def"
    analyses = Analyses(lambda _: None)
    assert analyses.of(fingerprint(source), lambda: source) is None
    assert not analyses.fresh
