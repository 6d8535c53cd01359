"""Units: what was touched, and by whom."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.facts.places import Places
from pytest_perfcache.trace.codes import Codes
from pytest_perfcache.trace.modules import Modules
from pytest_perfcache.trace.recorder import Recorder
from pytest_perfcache.trace.unit import Unit, mask_of, numbers_in, whole


class Calls:
    """A tracer that is told what was entered."""

    def __init__(self) -> None:
        self.entered: list[int] = []
        self.whole = True
        self.busy: set[int] = set()
        self.awaited: set[int] = set()

    def take(self) -> list[int]:
        entered, self.entered = self.entered, []
        return entered

    def intact(self) -> bool:
        return self.whole

    def instrument(self, code: object, _path: str) -> object:
        return code

    def close(self) -> None: ...


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def recorder(calls: Calls, tmp_path: Path) -> Recorder:
    codes = Codes()
    for path, name in (("a.py", "f"), ("b.py", "g"), ("b.py", "h")):
        codes.enter(path, name)
    return Recorder(codes, calls, Modules(Places.of(tmp_path), codes))  # type: ignore[arg-type]


@given(st.sets(st.integers(0, 3000)))
def test_a_mask_holds_exactly_its_numbers(numbers: set[int]) -> None:
    assert list(numbers_in(mask_of(numbers))) == sorted(numbers)
    assert mask_of(numbers) == sum(1 << number for number in numbers)


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=10, max_size=10), st.sets(st.integers(0, 9)))
def test_a_unit_with_its_parts_is_each_once_whatever_stands_on_what(links: list[list[int]], roots: set[int]) -> None:
    units = [Unit(str(number)) for number in range(10)]
    for unit, parts in zip(units, links, strict=True):
        unit.parts = dict.fromkeys(units[part] for part in parts)
    reached = set(roots)
    while more := {part for number in reached for part in links[number]} - reached:
        reached |= more

    found = whole(units[number] for number in roots)

    assert sorted(unit.name for unit in found) == sorted(map(str, reached))


SETS = ("blocks", "modules", "inputs", "fixtures", "ran_elsewhere", "imports")


@pytest.mark.parametrize("name", [*SETS, "parts", "elsewhere", "untracked"])
def test_a_unit_that_took_another_one_in_touched_what_that_did(name: str) -> None:
    other, unit = Unit("other"), Unit("unit")
    assert Unit("new").is_empty
    value = {"parts": {Unit("part"): None}, "elsewhere": 4, "untracked": "connects to x"}.get(name, {"some"})
    setattr(other, name, value)

    unit.take_in(other)

    assert getattr(unit, name) == value
    assert not other.is_empty
    assert all(getattr(unit, rest) == set() for rest in SETS if rest != name)


def test_a_unit_that_is_taken_in_is_a_part_of_those_at_work_no_more(recorder: Recorder) -> None:
    ended, unit, earlier = Unit("import of a"), Unit("test"), Unit("earlier")
    ended.modules.add("a.py")
    earlier.stand_on(ended)
    with recorder.unit(unit):
        unit.stand_on(ended)
        recorder.take_in(ended)

    assert (unit.parts, unit.modules) == ({}, {"a.py"})
    assert list(earlier.parts) == [ended]
    assert not recorder.session.modules


def test_the_first_reason_why_nothing_may_be_concluded_is_kept() -> None:
    unit = Unit("test")
    unit.spoil("connects to x")
    unit.spoil("starts a program")

    assert unit.untracked == "connects to x"


def test_what_is_entered_belongs_to_the_innermost_unit(recorder: Recorder, calls: Calls) -> None:
    outer, inner = Unit("outer"), Unit("inner")
    calls.entered = [2]
    with recorder.unit(outer):
        calls.entered = [0]
        with recorder.unit(inner):
            calls.entered = [1]
        calls.entered = [2]

    assert recorder.session.blocks == {2}
    assert outer.blocks == {0, 2}
    assert inner.blocks == {1}
    assert recorder.current is recorder.session


def test_a_unit_ends_with_those_inside_it(recorder: Recorder) -> None:
    outer, lost = Unit("outer"), Unit("never left")
    recorder.enter(outer)
    recorder.enter(lost)
    recorder.leave(outer)

    assert recorder.current is recorder.session


def test_the_session_itself_never_ends(recorder: Recorder) -> None:
    recorder.leave(Unit("never entered"))

    assert recorder.current is recorder.session


def test_a_unit_that_ends_in_an_error_ends(recorder: Recorder) -> None:
    with pytest.raises(KeyError), recorder.unit(Unit("test")):
        raise KeyError

    assert recorder.current is recorder.session


def test_when_another_tool_took_the_tracers_place_nothing_is_concluded(recorder: Recorder, calls: Calls) -> None:
    test = Unit("test")
    with recorder.unit(test):
        calls.whole = False

    assert test.untracked == "another tool took the tracer's place"


def test_only_the_sessions_thread_is_at_home(recorder: Recorder) -> None:
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(recorder.at_home))
    thread.start()
    thread.join()

    assert (recorder.at_home, seen) == (True, [False])


def test_what_a_thread_enters_belongs_to_the_unit_at_work(recorder: Recorder, calls: Calls) -> None:
    test = Unit("test")
    with recorder.unit(test):
        thread = threading.Thread(target=lambda: calls.entered.append(1))
        thread.start()
        thread.join()

    assert test.blocks == {1}
