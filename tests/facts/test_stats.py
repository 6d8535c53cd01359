"""The stat cache: who is read again and who is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.facts.digest import ABSENT, fingerprint
from pytest_perfcache.facts.stats import RACY_NS, Signature, StatCache

LATER = RACY_NS + 1
"""Nanoseconds after which a file is old enough."""


class Clock:
    """Stands so many nanoseconds after the newest time stamp of a file."""

    def __init__(self, file: Path, age: int) -> None:
        found = os.stat(file)
        self.now = max(found.st_mtime_ns, found.st_ctime_ns) + age

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tax.json"
    file.write_bytes(b"20")
    return file


def cache_for(file: Path, age: int = LATER) -> StatCache:
    return StatCache(file.parent, Clock(file, age))


def test_an_untouched_file_is_read_once_in_its_life(file: Path) -> None:
    first = cache_for(file)
    assert first.content("tax.json") == fingerprint(b"20")
    second = cache_for(file)
    second.load(first.dump())

    assert second.content("tax.json") == fingerprint(b"20")
    assert (first.reads, second.reads) == (1, 0)


@pytest.mark.parametrize(("age", "reads"), [(0, 2), (RACY_NS - 1, 2), (RACY_NS, 1), (LATER, 1)])
def test_a_file_so_young_that_a_later_write_could_look_the_same_is_read_again(file: Path, age: int, reads: int) -> None:
    cache = cache_for(file, age)
    for _ in range(2):
        cache.content("tax.json")
        cache.forget()

    assert cache.reads == reads


def test_a_write_within_the_same_time_stamp_is_seen(file: Path) -> None:
    cache = cache_for(file, age=0)
    cache.content("tax.json")
    before = os.stat(file)
    file.write_bytes(b"21")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    cache.forget()

    assert cache.content("tax.json") == fingerprint(b"21")


@pytest.mark.parametrize("change", ["content", "replaced", "touched"])
def test_a_touched_file_is_read_again(file: Path, change: str) -> None:
    cache = cache_for(file)
    cache.content("tax.json")
    before = os.stat(file)
    if change == "touched":
        os.utime(file, ns=(0, before.st_mtime_ns + 1))
    else:
        new = file.with_name("new") if change == "replaced" else file
        new.write_bytes(b"21")
        os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
        new.replace(file)
    cache.forget()

    assert cache.content("tax.json") == fingerprint(file.read_bytes())
    assert cache.reads == 2


def test_within_one_look_a_file_does_not_change(file: Path) -> None:
    cache = cache_for(file)
    cache.content("tax.json")
    file.write_bytes(b"much longer")

    assert cache.content("tax.json") == fingerprint(b"20")


def test_what_is_not_a_file_is_absent(tmp_path: Path) -> None:
    cache = StatCache(tmp_path)

    assert [cache.content(name) for name in (".", "nowhere", "nul\0")] == [ABSENT] * 3
    assert not cache.changed


def test_what_somebody_else_read_is_taken_over_once_it_is_old_enough(file: Path) -> None:
    young, old = cache_for(file, age=0), cache_for(file)
    signature = Signature.of(file)
    assert signature is not None
    for cache in (young, old):
        cache.learn("tax.json", signature, fingerprint(b"20"))
        cache.content("tax.json")

    assert (young.reads, old.reads) == (1, 0)
    assert (young.changed, old.changed) == (False, True)


paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
numbers = st.integers(0, 2**63 - 1)
entries = st.dictionaries(
    paths, st.tuples(st.tuples(numbers, numbers, numbers, numbers), st.binary(min_size=16, max_size=16))
)


def filled(known: dict[str, tuple[tuple[int, int, int, int], bytes]]) -> StatCache:
    cache = StatCache(Path("/nowhere"), lambda: 2**64)
    for path, (signature, content) in known.items():
        cache.learn(path, Signature(*signature), content)
    return cache


@given(entries)
def test_a_dump_holds_all_that_is_known(known: dict[str, tuple[tuple[int, int, int, int], bytes]]) -> None:
    dump = filled(known).dump()
    again = StatCache(Path("/nowhere"))
    again.load(dump)

    assert again.dump() == dump
    assert len(dump) >= 48 * len(known)


@given(entries, st.data())
def test_a_damaged_dump_is_as_good_as_empty_or_a_part(
    known: dict[str, tuple[tuple[int, int, int, int], bytes]], data: st.DataObject
) -> None:
    dump = filled(known).dump()
    cache = StatCache(Path("/nowhere"))
    cache.load(dump[: data.draw(st.integers(0, len(dump)))])

    assert set(rows(cache)) <= set(rows(filled(known))) | {b""}


def rows(cache: StatCache) -> list[bytes]:
    """The fixed part of each entry in a dump."""
    dump = cache.dump()
    size = int.from_bytes(dump[6:14], "little")
    return [dump[14 + at : 14 + at + 48] for at in range(0, size, 48)]


@given(st.none() | st.binary(max_size=120) | st.binary(max_size=120).map(lambda tail: b"stat1\n" + tail))
def test_foreign_bytes_do_no_harm(data: bytes | None) -> None:
    StatCache(Path("/nowhere")).load(data)


def test_a_dump_with_names_of_any_bytes_comes_back() -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    cache = filled({name: ((1, 2, 3, 4), b"x" * 16)})
    again = StatCache(Path("/nowhere"))
    again.load(cache.dump())

    assert again.dump() == cache.dump()
