"""From a history and the world to a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_perfcache.decide.verify import Changes, Conditions, decide, is_fresh
from pytest_perfcache.facts.world import Changed, Rebound, Same, State
from pytest_perfcache.model import Fact, History, Outcome, Reason, Record, Told, Trace
from tests.decide.strategies import histories, traces

NOW = 1_000_000.0
PRINT = b"1" * 16
REGION, TAX = Fact("env:REGION", PRINT), Fact("file:tax.json", PRINT)
MODULE, TOTAL = Fact("skeleton:cart.py", PRINT), Fact("block:cart.py::total", PRINT)


def world(states: Mapping[Fact, State], *mentioning: Fact) -> Changes:
    """The changes of a world in which facts have these states, the rest holds, and some code mentions everything."""

    def reaches(rebound: Rebound, facts: Iterable[Fact]) -> str | None:
        return next((f"{min(rebound.names)}, and {fact.key} names it" for fact in facts if fact in mentioning), None)

    return Changes.among([REGION, TAX, MODULE, TOTAL, *states], lambda fact: states.get(fact, Same()), reaches)


def passed(*facts: Fact, at: float = NOW - 1) -> Record:
    return Record(Trace(facts), True, at)


def conditions(now: float = NOW, ttl: float = 1000.0) -> Conditions:
    return Conditions(now=now, ttl=ttl)


@given(traces)
def test_a_record_whose_facts_all_hold_is_a_hit(facts: tuple[Fact, ...]) -> None:
    history = History((passed(*facts),), 1.5, Outcome.PASSED)

    verdict = decide("t", history, world({}), conditions())

    assert verdict.hit
    assert verdict.duration == 1.5


@given(traces.filter(set), st.data())
def test_one_changed_fact_is_enough_to_run(trace: Trace, data: st.DataObject) -> None:
    lost = data.draw(st.sampled_from(sorted(set(trace))))
    others = Record(Trace((), trace.shared), True, NOW - 2)
    record = Record(trace, True, NOW - 1)

    verdict = decide("t", History((record, others)), world({lost: Changed("gone")}), conditions())
    if lost not in set(others.facts):
        assert verdict.hit
    verdict = decide("t", History((record,)), world({lost: Changed("gone")}), conditions())

    assert (verdict.reason, verdict.detail) == (Reason.CHANGED, f"{lost.key} gone")


@given(histories, st.sets(st.sampled_from([REGION, TAX, MODULE, TOTAL])))
def test_a_hit_stands_on_a_fresh_clean_record_that_holds(history: History, lost: set[Fact]) -> None:
    broken = {fact: Changed("changed") for fact in (*lost, Fact("file:a.json", PRINT))}
    verdict = decide("t", history, world(broken), conditions(now=1e9, ttl=1e9))

    sound = [r for r in history.records if r.clean and broken.keys().isdisjoint(r.facts)]
    young = [r for r in sound if is_fresh("t", r, conditions(now=1e9, ttl=1e9))]
    assert verdict.hit == (bool(young) and not history.flaky and not history.untracked)


@given(histories)
def test_the_order_of_the_records_does_not_matter(history: History) -> None:
    backwards = History(history.records[::-1], history.duration, history.last, history.untracked, history.flaky)
    lost = world({Fact("env:REGION", PRINT): Changed("changed")})

    assert decide("t", history, lost, conditions()).reason == decide("t", backwards, lost, conditions()).reason


def test_a_hit_tells_what_the_record_that_holds_tells() -> None:
    told = Told(Outcome.SKIPPED, "Skipped: no printer", "setup")
    history = History((passed(REGION), Record(Trace((TAX,)), False, NOW - 1, told)), last=Outcome.SKIPPED)

    gone = {fact: Changed("gone") for fact in (REGION, TAX)}
    skipped = decide("t", history, world({REGION: gone[REGION]}), conditions())
    ran = decide("t", history, world({TAX: gone[TAX]}), conditions())
    neither = decide("t", history, world(gone), conditions())

    assert [(v.reason, v.told) for v in (skipped, ran, neither)] == [
        (Reason.HIT, told),
        (Reason.HIT, None),
        (Reason.CHANGED, None),
    ]


def test_a_test_without_history_is_new() -> None:
    assert decide("t", None, world({}), conditions()).reason is Reason.NEW


def test_a_record_of_a_failure_is_never_a_hit() -> None:
    history = History((Record(Trace((TAX,)), False, NOW - 1),), last=Outcome.FAILED)

    assert decide("t", history, world({}), conditions()).reason is Reason.FAILED


def test_a_failure_elsewhere_does_not_spoil_an_earlier_state_that_passed() -> None:
    history = History((passed(TAX), Record(Trace((REGION,)), False, NOW - 1)), last=Outcome.FAILED)

    assert decide("t", history, world({REGION: Changed("changed")}), conditions()).hit


def test_the_reason_comes_from_the_nearest_record() -> None:
    history = History((passed(TAX, REGION), passed(TAX)))
    lost = world({TAX: Changed("changed"), REGION: Changed("gone")})

    assert decide("t", history, lost, conditions()).detail == "file:tax.json changed"


def test_the_rest_of_several_changes_is_counted() -> None:
    lost = world({TAX: Changed("changed"), REGION: Changed("gone")})

    detail = decide("t", History((passed(TAX, REGION),)), lost, conditions()).detail
    assert detail == "file:tax.json changed (and 1 more)"


def test_a_new_function_is_nothing_to_code_that_does_not_mention_it() -> None:
    rebound = world({MODULE: Rebound("cart.py", frozenset({"helper"}))})

    assert decide("t", History((passed(MODULE, TOTAL),)), rebound, conditions()).hit


def test_a_new_function_matters_to_code_that_mentions_it() -> None:
    rebound = world({MODULE: Rebound("cart.py", frozenset({"helper"}))}, TOTAL)

    verdict = decide("t", History((passed(MODULE, TOTAL),)), rebound, conditions())
    assert verdict.reason is Reason.CHANGED
    assert "helper" in verdict.detail
    assert TOTAL.key in verdict.detail


def test_only_the_code_that_the_test_ran_is_asked_for_mentions() -> None:
    rebound = world({MODULE: Rebound("cart.py", frozenset({"helper"}))}, TOTAL)

    assert decide("t", History((passed(MODULE),)), rebound, conditions()).hit


@pytest.mark.parametrize(
    ("given_", "reason", "detail"),
    [
        (Conditions(NOW, 1e3, off="coverage is measured"), Reason.OFF, "coverage is measured"),
        (Conditions(NOW, 1e3, named=True), Reason.NAMED, ""),
        (Conditions(NOW, 1e3, last_failed=True), Reason.LAST_FAILED, ""),
        (Conditions(NOW, 1e3, marked="cache=False"), Reason.MARKED, "cache=False"),
        (Conditions(NOW, 1e3, chosen=True), Reason.VERIFY, ""),
        (Conditions(NOW + 2e3, 1e3), Reason.EXPIRED, ""),
    ],
)
def test_what_the_run_asks_for_comes_before_a_match(given_: Conditions, reason: Reason, detail: str) -> None:
    verdict = decide("t", History((passed(TAX),), last=Outcome.PASSED), world({}), given_)

    assert (verdict.reason, verdict.detail) == (reason, detail)


@pytest.mark.parametrize(
    ("history", "reason", "detail"),
    [
        (History((passed(TAX),), untracked="connects to x"), Reason.UNTRACKED, "connects to x"),
        (History((passed(TAX),), flaky=2), Reason.FLAKY, "2 more passes in a row needed"),
        (History((), last=Outcome.SKIPPED), Reason.UNCLEAN, "skipped"),
        (History((), last=Outcome.XFAILED), Reason.UNCLEAN, "xfailed"),
        (History((), last=Outcome.PASSED), Reason.NEW, ""),
    ],
)
def test_what_is_known_of_a_test_is_told_with_the_reason(history: History, reason: Reason, detail: str) -> None:
    verdict = decide("t", history, world({}), conditions())

    assert (verdict.reason, verdict.detail) == (reason, detail)


@given(st.text(), st.floats(1, 1e8))
def test_a_record_lives_for_its_time_give_or_take_a_quarter(nodeid: str, ttl: float) -> None:
    def fresh(age: float) -> bool:
        return is_fresh(nodeid, Record(Trace(()), True, 0.0), conditions(now=age, ttl=ttl))

    assert fresh(0)
    assert fresh(0.74 * ttl)
    assert not fresh(1.26 * ttl)


def test_records_of_one_day_do_not_expire_on_one_day() -> None:
    record = Record(Trace(()), True, 0.0)
    share = sum(is_fresh(f"test_{n}", record, conditions(now=1000.0)) for n in range(400)) / 400

    assert 0.3 < share < 0.7


def test_a_record_from_the_future_is_not_fresh() -> None:
    assert not is_fresh("t", Record(Trace(()), True, NOW + 60), conditions())
