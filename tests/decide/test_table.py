"""The decision table against a second account of it, over every situation there is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from pytest_perfcache.decide.table import TABLE, Rule, Situation, rule_for
from pytest_perfcache.model import Reason

NAMES = Situation._fields


def all_situations() -> Iterator[Situation]:
    for values in itertools.product((False, True), repeat=len(NAMES)):
        yield Situation(**dict(zip(NAMES, values, strict=True)))


def asked_for(s: Situation) -> Reason | None:
    """What the user's own words say, before anything is looked up."""
    if s.off:
        return Reason.OFF
    if s.named:
        return Reason.NAMED
    if s.last_failed:
        return Reason.LAST_FAILED
    return Reason.MARKED if s.marked else None


def oracle(s: Situation) -> Reason:
    """The policy told as a person would tell it: from the end backwards, in nested questions."""
    asked = asked_for(s)
    if asked is not None:
        return asked
    trusted = not s.flaky and not s.untracked
    if not trusted:
        return Reason.FLAKY if s.flaky else Reason.UNTRACKED
    if s.matched:
        if s.fresh:
            return Reason.VERIFY if s.chosen else Reason.HIT
        return Reason.EXPIRED
    if s.failed:
        return Reason.FAILED
    if s.unclean:
        return Reason.UNCLEAN
    return Reason.CHANGED if s.recorded else Reason.NEW


def test_there_are_twelve_questions() -> None:
    assert len(NAMES) == 12


def test_every_situation_is_decided_as_the_second_account_has_it() -> None:
    wrong = [(s, rule_for(s).reason) for s in all_situations() if rule_for(s).reason is not oracle(s)]

    assert wrong == []


def test_a_hit_needs_a_fresh_match_and_nothing_that_speaks_against_it() -> None:
    against = set(NAMES) - {"matched", "fresh", "failed", "unclean", "recorded"}
    for s in all_situations():
        free = not any(getattr(s, name) for name in against)
        assert (rule_for(s).reason is Reason.HIT) == (s.matched and s.fresh and free)


def test_no_question_but_a_fresh_match_can_turn_a_run_into_a_hit() -> None:
    for s in all_situations():
        if rule_for(s).reason is not Reason.HIT:
            continue
        for name in ("matched", "fresh"):
            without = Situation(**{n: getattr(s, n) for n in NAMES if n != name})
            assert rule_for(without).reason is not Reason.HIT


@pytest.mark.parametrize("rule", TABLE, ids=lambda rule: f"{rule.number}-{rule.reason.name}")
def test_each_rule_decides_some_situation(rule: Rule) -> None:
    assert any(rule_for(s) is rule for s in all_situations())


def test_rules_are_numbered_from_one_without_a_gap() -> None:
    assert [rule.number for rule in TABLE] == list(range(1, len(TABLE) + 1))


def test_each_reason_belongs_to_exactly_one_rule() -> None:
    assert sorted(rule.reason for rule in TABLE) == sorted(Reason)
