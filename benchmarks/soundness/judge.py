"""Comparing a run with a cache against a plain run of the same code (pure)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.session import Run

FAILING = ("failed", "error")
INTERRUPTED, CRASHED, USAGE = 2, 3, 4
REASONS = 5


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one tool made of one state of the code.

    `missed`: fails in truth, was not executed. `hidden`: fails in truth, was executed and passed. `spurious`:
    passes in truth, was executed and failed. `stale`: is skipped, expected to fail or gone in truth, was not
    executed and is told as passed. `spilled`: would be missed, but passes plainly once the tests that the tool
    executed are left out, so that only what another failure left behind made it fail. `broken`: passes in
    truth, and the tool's run could not collect it.
    `executed` counts tests, `reasons` those that were executed by the reason that the tool gave, the most frequent
    ones; `seconds` is wall time.
    """

    missed: tuple[str, ...]
    hidden: tuple[str, ...]
    spurious: tuple[str, ...]
    executed: int
    seconds: float
    returncode: int
    stale: tuple[str, ...] = ()
    spilled: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)


def changed(before: dict[str, str], truth: Run) -> frozenset[str]:
    """Tests that passed before or are new and now fail, or are gone with a module that can not be collected.

    `before` holds the steady outcomes of the unchanged code.
    """
    passed = {name for name, outcome in before.items() if outcome == "passed"}
    if aborted(truth):
        return frozenset(passed)
    now = {name for name, outcome in truth.outcomes.items() if outcome in FAILING}
    failing = {name for name in now if before.get(name, "passed") == "passed"}
    lost = {name for name in passed if name not in truth.outcomes and uncollected(name, truth)}
    return frozenset(failing | lost)


def aborted(run: Run) -> bool:
    """Whether the session ended in view of all: before any test, as when a conftest file raises, or by a crash."""
    return run.returncode == CRASHED or (run.returncode in {INTERRUPTED, USAGE} and not run.outcomes)


def uncollected(nodeid: str, run: Run) -> bool:
    """Whether the run reported a collection error of the test's module, class or folder."""
    return any(nodeid.startswith(error) for error in run.collection_errors)


def passing(*truths: Run) -> frozenset[str]:
    """The tests that pass in at least one of some plain runs of the same code."""
    return frozenset(name for run in truths for name, outcome in run.outcomes.items() if outcome == "passed")


def judge(failing: frozenset[str], passing: frozenset[str], run: Run) -> Judgement:
    """Judge a run by the tests that fail and those that pass in truth.

    A test whose module's collection error the run reported is not missed, nor is any in an aborted run.
    """
    left_out = frozenset() if aborted(run) else failing - run.executed
    told = {name for name, outcome in run.outcomes.items() if outcome == "passed" and name not in run.executed}
    return Judgement(
        tuple(sorted(name for name in left_out if not uncollected(name, run))),
        tuple(sorted(name for name in failing & run.executed if run.outcomes.get(name) == "passed")),
        tuple(sorted(name for name in passing & run.executed if run.outcomes.get(name) in FAILING)),
        len(run.executed),
        round(run.seconds, 3),
        run.returncode,
        tuple(sorted(told - failing - passing)),
        broken=tuple(sorted(name for name in passing if aborted(run) or uncollected(name, run))),
        reasons=reasons(run),
    )


def reasons(run: Run) -> dict[str, int]:
    """Executed tests by reason, as far as the tool told it."""
    found = Counter(run.verdicts[name].reason for name in run.executed if name in run.verdicts)
    return dict(found.most_common(REASONS))


def set_apart(judgement: Judgement, alone: Run) -> Judgement:
    """Call those missed tests spilled that pass in `alone`, a plain run of the missed tests only."""
    spilled = {name for name in judgement.missed if alone.outcomes.get(name) == "passed"}
    missed = tuple(name for name in judgement.missed if name not in spilled)
    return replace(judgement, missed=missed, spilled=tuple(sorted(spilled)))
