"""A truth that is written into the results is the same truth when it is read again."""

from __future__ import annotations

from benchmarks.session import Run
from benchmarks.soundness.trial import Truth

TRUTH = Truth(frozenset("a"), frozenset("ab"), frozenset("cd"), 1.5)


def test_a_truth_is_taken_over_from_the_results() -> None:
    assert Truth.of({"status": "changed", **TRUTH.as_json()}, "abcd") == TRUTH


def test_of_a_mutant_that_hung_there_is_no_truth() -> None:
    assert Truth.of({"status": "timeout"}, "abcd") is None


def test_what_fails_only_once_counts_as_passing() -> None:
    again = Truth(frozenset(), frozenset("b"), frozenset("acd"), 1.5)
    run = Run(0, 1.0, 1, dict.fromkeys("abcd", "passed"), frozenset())

    assert TRUTH.judge(run).missed == ("a",)
    assert TRUTH.steady(again).judge(run).missed == ()
