"""What a run adds to what was known of a test. Pure."""

from __future__ import annotations

import math
from typing import Final

from pytest_perfcache.model import History, Outcome, Record

KEPT: Final = 4
"""Distinct clean records a test keeps, so that going back to an earlier state of the code hits at once."""
_WEIGHT: Final = 0.5
_SHORTEST: Final = 1e-6


def learn(old: History | None, new: History, *, contradicted: bool, flaky_passes: int) -> History:
    """Join what was known with one new run, whose history holds at most one record.

    ``contradicted``: the same facts had the other outcome before, which proves the test flaky.
    """
    old = old or History()
    clean = new.last is Outcome.PASSED or any(record.clean for record in new.records)
    return History(
        records=_records(old, new, contradicted=contradicted),
        duration=_duration(old.duration, new.duration) if clean else old.duration,
        last=new.last,
        untracked=new.untracked if clean else "",
        flaky=_owed(flaky_passes if contradicted else old.flaky, flaky_passes, clean=clean),
    )


def _owed(flaky: int, flaky_passes: int, *, clean: bool) -> int:
    if not flaky:
        return 0
    return flaky - 1 if clean else flaky_passes


def _records(old: History, new: History, *, contradicted: bool) -> tuple[Record, ...]:
    """The newest first. A contradiction leaves nothing to rely on but the newest."""
    if contradicted:
        return new.records
    facts = [set(record.facts) for record in new.records if old.records]
    kept = [record for record in old.records if set(record.facts) not in facts]
    failures = [record for record in (*new.records, *kept) if not record.clean][:1]
    clean = [record for record in (*new.records, *kept) if record.clean][:KEPT]
    return (*clean, *failures)


def _duration(old: float | None, new: float | None) -> float | None:
    """An exponentially weighted mean of the logarithm, in seconds: one slow run does not spoil the estimate."""
    if old is None or new is None:
        return new if old is None else old
    logs = math.log(max(old, _SHORTEST)), math.log(max(new, _SHORTEST))
    return math.exp((1 - _WEIGHT) * logs[0] + _WEIGHT * logs[1])
