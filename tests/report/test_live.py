"""The live line: what runs, the longest first, and the time left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.report.live import Progress


def progress(*, workers: int = 1, **expected: float) -> Progress:
    made = Progress()
    made.workers = workers
    made.expect(expected)
    return made


def test_the_longest_running_comes_first_and_what_is_over_is_gone() -> None:
    shown = progress()
    for at, name in enumerate("abc"):
        shown.start(name, float(at))
    shown.finish("b")

    assert shown.line(10.0, 80) == "running: a 10 s, c 8 s"


def test_nothing_is_told_where_nothing_runs() -> None:
    assert progress(a=1.0).line(0.0, 80) == ""


def test_what_finds_no_room_is_counted() -> None:
    shown = progress()
    for name in "abcdef":
        shown.start(name * 10, 0.0)

    assert shown.line(1.0, 50) == "running: aaaaaaaaaa 1 s, bbbbbbbbbb 1 s, 4 more"


def test_the_time_left_is_that_of_all_workers_but_not_less_than_that_of_a_test_that_runs() -> None:
    shown = progress(workers=2, a=10.0, b=2.0, c=4.0)
    shown.start("a", 0.0)
    shown.start("b", 0.0)

    assert shown.left(0.0) == 10.0
    assert shown.left(8.0) == 3.0
    shown.finish("b")
    assert shown.left(20.0) == 2.0


def test_the_time_left_is_told_only_where_durations_are_known() -> None:
    shown = progress()
    shown.start("a", 0.0)

    assert shown.left(1.0) is None


def test_tests_that_workers_collect_later_count_from_then_on() -> None:
    shown = progress(a=1.0)
    shown.start("a", 0.0)
    shown.finish("a")
    shown.expect({"a": 1.0, "b": 61.0})
    shown.start("b", 0.0)

    assert shown.line(0.0, 80) == "running: b 0 s, 1 min 1 s left"


@given(st.dictionaries(st.text(), st.floats(0.0, 1e4), max_size=8), st.integers(1, 8), st.integers(40, 120))
def test_a_line_is_never_wider_than_asked_and_moves_no_cursor(
    expected: dict[str, float], workers: int, width: int
) -> None:
    shown = Progress()
    shown.workers = workers
    shown.expect(expected)
    for nodeid in expected:
        shown.start(nodeid, 0.0)
    line = shown.line(3.0, width)

    assert len(line) <= width
    assert line.isprintable()
    assert all(character.isascii() or character == "…" for character in line)
    assert expected == {} or (shown.left(3.0) or 0.0) >= 0.0
