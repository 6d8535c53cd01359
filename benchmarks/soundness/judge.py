"""Comparing a run with a cache against a plain run of the same code (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.session import Run

FAILING = ("failed", "error")
INTERRUPTED, CRASHED, USAGE = 2, 3, 4


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one tool made of one state of the code.

    `missed`: fails in truth, was not executed. `hidden`: fails in truth, was executed and passed. `spurious`:
    passes in truth, was executed and failed. `executed` counts tests; `seconds` is wall time.
    """

    missed: tuple[str, ...]
    hidden: tuple[str, ...]
    spurious: tuple[str, ...]
    executed: int
    seconds: float
    returncode: int


def changed(passed: frozenset[str], truth: Run) -> frozenset[str]:
    """Tests that passed before and now fail, or are gone with a module that can not be collected any more."""
    if aborted(truth):
        return passed
    failing = {name for name in passed if truth.outcomes.get(name) in FAILING}
    lost = {name for name in passed if name not in truth.outcomes and uncollected(name, truth)}
    return frozenset(failing | lost)


def aborted(run: Run) -> bool:
    """Whether the session ended in view of all: before any test, as when a conftest file raises, or by a crash."""
    return run.returncode == CRASHED or (run.returncode in {INTERRUPTED, USAGE} and not run.outcomes)


def uncollected(nodeid: str, run: Run) -> bool:
    """Whether the run reported a collection error of the test's module, class or folder."""
    return any(nodeid.startswith(error) for error in run.collection_errors)


def judge(failing: frozenset[str], passing: frozenset[str], run: Run) -> Judgement:
    """Judge a run by the tests that fail and those that pass in truth.

    A test whose module's collection error the run reported is not missed, nor is any in an aborted run.
    """
    missed = set() if aborted(run) else {name for name in failing - run.executed if not uncollected(name, run)}
    return Judgement(
        tuple(sorted(missed)),
        tuple(sorted(name for name in failing & run.executed if run.outcomes.get(name) == "passed")),
        tuple(sorted(name for name in passing & run.executed if run.outcomes.get(name) in FAILING)),
        len(run.executed),
        round(run.seconds, 3),
        run.returncode,
    )
