"""Which skips and expected failures can be told again without a run, and as what.

A skip is as good as a pass where it follows from what the trace holds: from a mark that the test had when it was
collected, or from code that ran on its behalf. What a hook decides while tests run, a conftest file's that skips
whatever comes after a failure as well as a plugin's, may follow from other tests. So may a mark that a hook gave the
test once all were collected: it is remembered, and the skip is told again where the hook, which is called in each run,
gives the same mark again. All of it holds only on the machine where it was seen: skips ask for devices and drivers in
ways that leave no trace.
"""

from __future__ import annotations

import os
from traceback import walk_tb
from types import TracebackType
from typing import Any, Final

import pytest

from pytest_perfcache.model import Outcome, Told
from pytest_perfcache.run.marking import marks_of
from pytest_perfcache.run.results import outcome_of

_EXPECTED: Final = (Outcome.XFAILED, Outcome.XPASSED)
_OF_TESTS: Final = ("_pytest.python", "_pytest.fixtures", "_pytest.skipping")
"""Whose hooks run a test, set up a fixture, or follow a mark."""
_OF_UNITTEST: Final = ("unittest.case", "_pytest.unittest")


def told_of(item: pytest.Item, report: pytest.TestReport, raised: Any, shown: Any) -> Told | None:
    """What a report of something else than a pass tells; None where that need not follow from the trace.

    ``raised``: the ``ExceptionInfo`` as it came from the test; ``shown``: the one that the report was made of.
    """
    late = marks_of(item.config).late(item)
    if late is None:
        return None
    outcome, when = outcome_of(report), str(report.when)
    around = raised or shown
    if around is not None and not _is_of_test(around.tb):
        return None
    value = getattr(shown, "value", None)
    if outcome in _EXPECTED:
        marked = isinstance(value, pytest.xfail.Exception) or item.get_closest_marker("xfail") is not None
        return Told(outcome, str(getattr(report, "wasxfail", "")), when, late=late) if marked else None
    if outcome is Outcome.SKIPPED and isinstance(value, pytest.skip.Exception) and isinstance(report.longrepr, tuple):
        path, line, reason = report.longrepr
        where, at, _ = item.reportinfo()
        own = (os.fspath(where), (at or 0) + 1) == (path, line)
        return Told(outcome, reason, when, None if own else (path, line), late)
    return None


def _is_of_test(traceback: TracebackType) -> bool:
    """Whether it was raised by the test, its fixtures or its marks: no other hook was called after these."""
    frames = [(frame.f_code.co_name, frame.f_globals.get("__name__")) for frame, _ in walk_tb(traceback)]
    hook = next((one for one in reversed(frames) if one[0].startswith("pytest_")), None)
    if hook is None:
        return frames[0][1] in _OF_UNITTEST or frames[-1][1] in _OF_UNITTEST
    return hook[1] in _OF_TESTS or hook == ("pytest_runtest_call", "_pytest.runner")
