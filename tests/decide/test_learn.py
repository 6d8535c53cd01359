"""What one more run adds to what was known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.decide.learn import KEPT, learn
from pytest_perfcache.model import Fact, History, Outcome, Record, Told, Trace
from tests.decide.strategies import histories, runs


def trace(number: int) -> Trace:
    return Trace((Fact("file:a.json", bytes([number]) * 16),))


def run(number: int, outcome: Outcome = Outcome.PASSED, seconds: float = 1.0) -> History:
    return History((Record(trace(number), outcome is Outcome.PASSED, 0.0),), seconds, outcome)


def is_clean(new: History) -> bool:
    """Whether the run could stand for the next one, as far as its outcome goes."""
    return new.last is Outcome.PASSED or any(record.told for record in new.records)


def after(*news: History, contradicted: bool = False, flaky_passes: int = 3) -> History:
    known: History | None = None
    for new in news:
        known = learn(known, new, contradicted=contradicted and new is news[-1], flaky_passes=flaky_passes)
    assert known is not None
    return known


@given(histories | st.none(), runs(), st.booleans(), st.integers(0, 5))
def test_what_is_kept_is_bounded_and_each_trace_stands_once(
    old: History | None, new: History, contradicted: bool, flaky_passes: int
) -> None:
    known = learn(old, new, contradicted=contradicted, flaky_passes=flaky_passes)

    clean = [record for record in known.records if record.clean]
    assert len(clean) <= KEPT
    assert len(known.records) - len(clean) <= 1
    fresh = [set(record.facts) for record in new.records]
    assert all(set(r.facts) not in fresh for r in known.records if r not in new.records)


@given(histories | st.none(), runs(), st.booleans())
def test_the_new_record_is_kept_and_stands_first_of_its_kind(
    old: History | None, new: History, contradicted: bool
) -> None:
    known = learn(old, new, contradicted=contradicted, flaky_passes=3)

    for record in new.records:
        assert next(r for r in known.records if r.clean is record.clean) is record


@given(histories, runs())
def test_only_what_was_known_or_is_new_is_kept(old: History, new: History) -> None:
    known = learn(old, new, contradicted=False, flaky_passes=3)

    assert set(known.records) <= {*old.records, *new.records}


@given(histories, runs(), st.integers(1, 5))
def test_a_contradiction_leaves_nothing_of_the_past_and_asks_for_passes(
    old: History, new: History, flaky_passes: int
) -> None:
    known = learn(old, new, contradicted=True, flaky_passes=flaky_passes)

    assert known.records == new.records
    assert known.flaky == flaky_passes - is_clean(new)


@given(histories, runs())
def test_learning_the_same_run_again_keeps_the_same_records(old: History, new: History) -> None:
    once = learn(old, new, contradicted=False, flaky_passes=3)

    assert learn(once, new, contradicted=False, flaky_passes=3).records == once.records


@given(histories, runs())
def test_the_estimate_stays_between_the_old_and_the_new_duration(old: History, new: History) -> None:
    known = learn(old, new, contradicted=False, flaky_passes=3)

    if not is_clean(new):
        assert known.duration == old.duration
    elif old.duration is None or new.duration is None:
        assert known.duration == (new.duration if old.duration is None else old.duration)
    else:
        assert known.duration is not None
        low, high = sorted((old.duration, new.duration))
        assert max(low, 1e-6) * (1 - 1e-9) <= known.duration <= max(high, 1e-6) * (1 + 1e-9)


@given(st.lists(runs(), min_size=1, max_size=8))
def test_the_last_outcome_is_that_of_the_last_run(news: list[History]) -> None:
    assert after(*news).last is news[-1].last


def test_an_earlier_state_is_still_known_after_others() -> None:
    known = after(run(1), run(2), run(3))

    assert [record.facts for record in known.records] == [trace(3), trace(2), trace(1)]


def test_the_oldest_state_is_forgotten_first() -> None:
    known = after(*(run(number) for number in range(KEPT + 1)))

    assert trace(0) not in [record.facts for record in known.records]


def test_a_failure_does_not_push_passes_out() -> None:
    known = after(run(1), run(2, Outcome.FAILED), run(3, Outcome.FAILED))

    assert [(r.facts, r.passed) for r in known.records] == [(trace(1), True), (trace(3), False)]


def test_a_skip_that_can_be_told_again_is_kept_like_a_pass() -> None:
    told = Told(Outcome.SKIPPED, "Skipped: no printer", "setup")
    known = after(run(1), History((Record(trace(2), False, 0.0, told),), 1.0, Outcome.SKIPPED), run(3, Outcome.FAILED))

    assert [(r.facts, r.clean) for r in known.records] == [(trace(2), True), (trace(1), True), (trace(3), False)]


def test_one_slow_run_does_not_spoil_the_estimate() -> None:
    known = after(run(1, seconds=1.0), run(1, seconds=100.0))

    assert known.duration == pytest.approx(math.sqrt(1.0 * 100.0))


def test_a_flaky_test_is_cached_again_after_as_many_passes_in_a_row_as_it_owes() -> None:
    known = after(run(1), run(1), contradicted=True, flaky_passes=2)
    owed = [known.flaky]
    for _ in range(3):
        known = learn(known, run(1), contradicted=False, flaky_passes=2)
        owed.append(known.flaky)

    assert owed == [1, 0, 0, 0], "the pass that contradicts is the first"


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.PASSED])
def test_a_flaky_test_that_does_not_pass_begins_anew(outcome: Outcome) -> None:
    known = learn(History(flaky=1), History(last=outcome), contradicted=False, flaky_passes=3)

    assert known.flaky == 3


def test_why_a_pass_left_no_record_is_remembered_until_one_leaves_one() -> None:
    spoilt = after(run(1), History((), 1.0, Outcome.PASSED, "connects to example.org"))

    assert spoilt.untracked == "connects to example.org"
    assert after(spoilt, run(1)).untracked == ""
