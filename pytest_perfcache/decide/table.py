"""The decision table: from what is known of a test to one verdict. The first rule that applies decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from pytest_perfcache.model import Reason


class Situation(NamedTuple):
    """All that the decision depends on."""

    off: bool = False
    """No hits are taken in this run, for a reason that concerns all tests."""
    named: bool = False
    """The node id (or one around it) stands on the command line."""
    last_failed: bool = False
    """``--lf`` selected it."""
    marked: bool = False
    """The user says that it is not to be cached."""
    flaky: bool = False
    """The same facts had two outcomes, and passes in a row are still owed."""
    untracked: bool = False
    """The last run met something that cannot be tracked."""
    matched: bool = False
    """Every fact of a clean record holds now."""
    fresh: bool = False
    """Such a record is not too old."""
    chosen: bool = False
    """Drawn for verification."""
    failed: bool = False
    """The last run failed."""
    unclean: bool = False
    """The last run left nothing that could stand for it, and did not fail: skipped by a plugin, interrupted, ..."""
    recorded: bool = False
    """There is a clean record, whether or not it matches."""


class Rule(NamedTuple):
    """One line of the table."""

    number: int
    when: str
    applies: Callable[[Situation], bool]
    reason: Reason


TABLE: Final[tuple[Rule, ...]] = tuple(
    Rule(number, when, applies, reason)
    for number, (when, applies, reason) in enumerate(
        (
            ("hits are turned off for this run", lambda s: s.off, Reason.OFF),
            ("the node id is named on the command line", lambda s: s.named, Reason.NAMED),
            ("`--lf` selected the test", lambda s: s.last_failed, Reason.LAST_FAILED),
            ("the user marked it as not cacheable", lambda s: s.marked, Reason.MARKED),
            ("it is flaky and still owes passes", lambda s: s.flaky, Reason.FLAKY),
            ("the last run met something that cannot be tracked", lambda s: s.untracked, Reason.UNTRACKED),
            ("a record matches but is too old", lambda s: s.matched and not s.fresh, Reason.EXPIRED),
            (
                "a fresh record matches, drawn for verification",
                lambda s: s.matched and s.chosen,
                Reason.VERIFY,
            ),
            ("a fresh record matches", lambda s: s.matched, Reason.HIT),
            ("the last run failed", lambda s: s.failed, Reason.FAILED),
            ("the last run was not a clean pass", lambda s: s.unclean, Reason.UNCLEAN),
            ("there are records, and none matches", lambda s: s.recorded, Reason.CHANGED),
            ("nothing is known of it", lambda _: True, Reason.NEW),
        ),
        start=1,
    )
)


def rule_for(situation: Situation) -> Rule:
    """The rule that decides; the last one always applies."""
    return next(rule for rule in TABLE if rule.applies(situation))
