"""The table of recording runs, measured in pairs."""

from __future__ import annotations

from benchmarks.recording import HEADER, Pairs, section

PAIRS = Pairs("shop==1.0", 200, ((2.0, 3.0), (4.0, 5.0), (1.0, 2.0)))


def test_a_ratio_is_that_of_one_pair_and_not_of_two_medians() -> None:
    assert PAIRS.ratios == [1.25, 1.5, 2.0]


def test_what_recording_adds_is_shared_among_the_tests() -> None:
    assert PAIRS.slowed == 5.0


def test_the_table_tells_median_and_spread() -> None:
    *_, header, _, row = section([PAIRS], "3.11", 3).splitlines()

    assert header == f"| {' | '.join(HEADER)} |"
    assert row == "| shop==1.0 | 200 | 2.0 | 3.0 | 1.50 | 1.25 | 2.00 | 5.0 |"
