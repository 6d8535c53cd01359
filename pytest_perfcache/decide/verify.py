"""Does a record still stand for the world as it is? Pure: the world is asked through two functions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Final, NamedTuple, TypeAlias

from pytest_perfcache.decide.table import Situation, rule_for
from pytest_perfcache.facts.world import Changed, Rebound, Same, State
from pytest_perfcache.model import Fact, History, Outcome, Reason, Record, Verdict

Reaches: TypeAlias = Callable[[Rebound, Iterable[Fact]], str | None]
"""Asks why a record with these facts sees what was bound anew, in words; None where it does not."""

MARKED: Final = "marked with cache=False"
"""Why a test that the user marked leaves no record; so that a later run without the test at hand knows it too."""
_JITTER: Final = 0.25
FRESH_SHARE: Final = 1 - _JITTER
"""A record younger than this share of its time to live is fresh, whatever its test."""


class Changes:
    """The facts of one module's records that do not simply hold now."""

    def __init__(self, states: Mapping[Fact, Changed | Rebound], reaches: Reaches) -> None:
        self.states = states
        self.reaches = reaches
        self._known: dict[int, tuple[tuple[Fact, ...], list[Fact]]] = {}
        """By identity: groups of facts that were asked for, with those that do not simply hold."""

    @classmethod
    def among(cls, facts: Iterable[Fact], state: Callable[[Fact], State], reaches: Reaches) -> Changes:
        found = ((fact, state(fact)) for fact in dict.fromkeys(facts))
        return cls({fact: how for fact, how in found if not isinstance(how, Same)}, reaches)

    def broken(self, record: Record) -> list[str]:
        """What no longer holds of a record, in words; empty when all of it holds."""
        if not self.states:
            return []
        lost: list[str] = []
        rebound: list[Rebound] = []
        for fact in dict.fromkeys(chain.from_iterable(map(self._of_group, record.facts.groups))):
            how = self.states[fact]
            if isinstance(how, Changed):
                lost.append(f"{fact.key} {how.how}")
            else:
                rebound.append(how)
        if not lost:
            reached = (self.reaches(how, record.facts) for how in rebound)
            lost += [why for why in reached if why][:1]
        return lost

    def _of_group(self, group: tuple[Fact, ...]) -> list[Fact]:
        number = object.__hash__(group)
        if number not in self._known:
            found = [] if self.states.keys().isdisjoint(group) else [fact for fact in group if fact in self.states]
            self._known[number] = group, found
        return self._known[number][1]


class Conditions(NamedTuple):
    """What this run asks for, apart from the facts."""

    now: float
    """Seconds since the epoch."""
    ttl: float
    """Seconds that a record stays fresh, give or take a quarter."""
    off: str = ""
    """Why no hits are taken at all; empty when they are."""
    named: bool = False
    last_failed: bool = False
    marked: str = ""
    chosen: bool = False


def decide(nodeid: str, history: History | None, changes: Changes, conditions: Conditions) -> Verdict:
    """One test's verdict, with the detail that a person needs to understand it."""
    history = history or History()
    known = [record for record in history.records if record.clean]
    broken = [(record, changes.broken(record)) for record in known]
    matching = [record for record, lost in broken if not lost]
    situation = Situation(
        off=bool(conditions.off),
        named=conditions.named,
        last_failed=conditions.last_failed,
        marked=bool(conditions.marked) or history.untracked == MARKED,
        flaky=history.flaky > 0,
        untracked=bool(history.untracked),
        matched=bool(matching),
        fresh=any(is_fresh(nodeid, record, conditions) for record in matching),
        chosen=conditions.chosen,
        failed=history.last is Outcome.FAILED,
        unclean=history.last not in (None, Outcome.PASSED, Outcome.FAILED) and not any(r.told for r in known),
        recorded=bool(known),
    )
    reason = rule_for(situation).reason
    told = matching[0].told if matching and reason in (Reason.HIT, Reason.VERIFY) else None
    return Verdict(reason, _detail(reason, history, conditions, [lost for _, lost in broken]), history.duration, told)


def is_fresh(nodeid: str, record: Record, conditions: Conditions) -> bool:
    """Whether a record is younger than its time to live, which differs a little from test to test.

    So that not all tests of a suite are verified again on the same day.
    """
    draw = int.from_bytes(hashlib.blake2b(nodeid.encode("utf-8", "surrogatepass"), digest_size=4).digest())
    ttl = conditions.ttl * (FRESH_SHARE + 2 * _JITTER * draw / 2**32)
    return 0 <= conditions.now - record.recorded_at < ttl


def _detail(reason: Reason, history: History, conditions: Conditions, broken: list[list[str]]) -> str:
    match reason:
        case Reason.OFF:
            return conditions.off
        case Reason.MARKED:
            return conditions.marked or history.untracked
        case Reason.UNTRACKED:
            return history.untracked
        case Reason.UNCLEAN:
            return str(history.last)
        case Reason.FLAKY:
            return f"{history.flaky} more passes in a row needed"
        case Reason.CHANGED:
            nearest = min(broken, key=len)
            return nearest[0] + (f" (and {len(nearest) - 1} more)" if len(nearest) > 1 else "")
        case _:
            return ""
