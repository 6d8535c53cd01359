"""Which failures a tool missed, from its run and a plain run of the same code."""

from __future__ import annotations

from benchmarks.session import Run
from benchmarks.soundness.judge import changed, judge, passing, set_apart
from benchmarks.soundness.summary import summary

A, B, C = "tests/test_a.py::test_one", "tests/test_a.py::test_two", "tests/test_b.py::test_one"
PASSED = frozenset({A, B, C})
BEFORE = dict.fromkeys(sorted(PASSED), "passed")


def run(outcomes: dict[str, str], *, executed: set[str], errors: tuple[str, ...] = (), returncode: int = 1) -> Run:
    return Run(returncode, 1.0, 1, outcomes, frozenset(executed), errors)


def test_what_fails_now_is_changed() -> None:
    truth = run({A: "failed", B: "passed", C: "error"}, executed={A, B, C})

    assert changed(BEFORE, truth) == {A, C}


def test_the_tests_of_a_module_that_cannot_be_collected_are_changed() -> None:
    truth = run({C: "passed"}, executed={C}, errors=("tests/test_a.py",))

    assert changed(BEFORE, truth) == {A, B}


def test_every_test_is_changed_where_the_session_aborts() -> None:
    assert changed(BEFORE, run({}, executed=set(), returncode=4)) == PASSED


def test_a_test_that_is_gone_without_an_error_is_not_changed() -> None:
    assert changed(BEFORE, run({A: "passed"}, executed={A}, returncode=0)) == frozenset()


def test_a_new_test_that_fails_is_changed_and_one_that_failed_or_was_skipped_before_is_not() -> None:
    truth = run({A: "failed", B: "failed", C: "failed"}, executed=set())

    assert changed({A: "skipped", B: "failed"}, truth) == {C}


def test_a_hit_that_would_be_skipped_now_is_told_as_passed() -> None:
    truth = run({A: "skipped", B: "passed"}, executed={A, B})
    told = run({A: "passed", B: "passed", C: "passed"}, executed={C}, returncode=0)

    assert judge(frozenset(), passing(truth), told).stale == (A,)


def test_what_passes_without_the_executed_tests_failed_by_what_another_failure_left_behind() -> None:
    found = judge(frozenset({A, B, C}), frozenset(), run({A: "failed"}, executed={A}))

    apart = set_apart(found, run({B: "passed", C: "failed"}, executed={B, C}))

    assert (apart.missed, apart.spilled) == ((C,), (B,))


def test_a_failure_that_was_not_executed_is_missed_although_it_was_reported_as_passed() -> None:
    found = judge(frozenset({A, C}), frozenset({B}), run({A: "failed", C: "passed"}, executed={A}))

    assert (found.missed, found.executed) == ((C,), 1)


def test_a_failure_that_was_executed_and_passed_is_hidden() -> None:
    found = judge(frozenset({A}), frozenset({B, C}), run({A: "passed"}, executed={A}))

    assert (found.missed, found.hidden) == ((), (A,))


def test_a_pass_that_was_executed_and_failed_is_spurious() -> None:
    assert judge(frozenset(), PASSED, run({B: "failed"}, executed={B})).spurious == (B,)


def test_a_reported_collection_error_misses_nothing_of_its_module_and_only_of_its_module() -> None:
    found = judge(PASSED, frozenset(), run({}, executed=set(), errors=("tests/test_a.py",)))

    assert found.missed == (C,)


def test_an_aborted_run_misses_nothing() -> None:
    assert judge(PASSED, frozenset(), run({}, executed=set(), returncode=3)).missed == ()


def test_the_summary_counts_changes_and_names_each_that_was_missed() -> None:
    missed = {"missed": [A], "hidden": [], "stale": [], "spilled": [], "executed": 1}
    noticed = {"missed": [], "hidden": [], "stale": [], "spilled": [], "executed": 3}
    line = {"suite": "shop", "path": "cart.py", "line": 3, "kind": "return", "text": "return None", "tests": 4}
    lines = [
        {**line, "status": "changed", "changed": 1, "tools": {"perfcache": missed, "testmon": noticed}},
        {**line, "status": "timeout"},
    ]

    text = summary(lines, "3.11")

    assert "1 changes made the suite hang" in text
    assert "| shop | perfcache | 1 | 1 | 1 | 1 | 0 | 0 | 0 | - | 25.0 % | 25.0 % |" in text
    assert f"Missed: shop cart.py:3 (return, `return None`): {A}" in text


def test_a_run_that_crashed_in_the_middle_misses_nothing_for_it_was_seen_to_fail() -> None:
    crashed = run({B: "passed"}, executed={B}, returncode=3)

    assert judge(frozenset({A}), frozenset({B}), crashed).missed == ()


def test_what_passes_in_truth_and_could_not_be_collected_is_broken() -> None:
    found = judge(frozenset(), PASSED, run({C: "passed"}, executed={C}, errors=("tests/test_a.py",)))

    assert found.broken == (A, B)
