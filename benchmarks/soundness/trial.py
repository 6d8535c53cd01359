"""Warmed copies of a suite, and trying one mutant in them."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.corpus import Suite, agree
from benchmarks.edits import edited
from benchmarks.session import Checkout, Run, Tool, run_pytest
from benchmarks.soundness.judge import Judgement, changed, judge, passing, set_apart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.soundness.mutants import Mutant
    from benchmarks.soundness.summary import Line

# Sources of chance that are no fault of any cache are held still in all runs alike.
STEADY = {"PYTHONHASHSEED": "0"}
# Pytest's own tracebacks take seconds for hundreds of failures, which would only look like a hang.
ALWAYS = ("--continue-on-collection-errors", "--hypothesis-seed=0", "--tb=native")
STATE: dict[Tool, str] = {"perfcache": ".perfcache", "testmon": ".testmondata"}


@dataclass(frozen=True, slots=True)
class Plan:
    """How the trials of one suite run: which tests, which tools, and the time limit of a run in seconds."""

    arguments: tuple[str, ...]
    tools: tuple[Tool, ...]
    timeout: float


@dataclass(frozen=True, slots=True)
class Truth:
    """A plain run of a mutant: what fails, all that does not pass, what passes, and wall time in seconds."""

    failing: frozenset[str]
    unlike: frozenset[str]
    passed: frozenset[str]
    seconds: float

    @classmethod
    def of(cls, line: Line, names: Iterable[str]) -> Truth | None:
        """As a line of results tells it of a suite with these tests; None for one that hung."""
        if line["status"] == "timeout":
            return None
        failing = frozenset(line["failing"])
        unlike = failing | frozenset(line["unlike"])
        return cls(failing, unlike, frozenset(names) - unlike, line["plain_seconds"])

    def as_json(self) -> dict[str, Any]:
        """What `of` reads."""
        return {
            "plain_seconds": round(self.seconds, 3),
            "failing": sorted(self.failing),
            "unlike": sorted(self.unlike - self.failing),
        }

    def judge(self, run: Run) -> Judgement:
        """What a tool's run made of it."""
        return judge(self.failing, self.passed, run)

    def steady(self, again: Truth) -> Truth:
        """What fails both times, and what passes at least once."""
        return replace(self, failing=self.failing & again.failing, passed=self.passed | again.passed)


@dataclass(frozen=True, slots=True)
class Slot:
    """A copy of the tree for one trial at a time, with what each tool remembers of the unchanged code."""

    checkout: Checkout
    plan: Plan
    before: dict[str, str]

    def run(self, tool: Tool, timeout: float | None = None) -> Run:
        """Run the suite by one tool from its remembered state."""
        self.checkout.forget()
        restore(self.checkout, tool)
        return run_once(self.checkout, tool, self.plan.arguments, timeout or self.plan.timeout)

    def try_mutant(self, mutant: Mutant, known: Line | None = None) -> dict[str, Any]:
        """Truth and each tool's judgement for one mutant, as JSON data.

        `known` is an earlier line for the same mutant: its truth, and its judgements of other tools than perfcache,
        are taken over. What a tool missed, hid or told wrongly is tried plainly once more: who has another outcome
        then is flaky.
        """
        path = self.checkout.tree / mutant.path
        with edited(path, mutant.apply(path.read_bytes())):
            truth = self.truth() if known is None else Truth.of(known, self.before)
            if truth is None:
                return {"status": "timeout"}
            taken = {} if known is None else {t: it for t, it in known["tools"].items() if t != "perfcache"}
            runs = {tool: self.run(tool, 3 * self.plan.timeout) for tool in self.plan.tools if tool not in taken}
            if any(run.timed_out for run in runs.values()):
                return {"status": "timeout"}
            judged = {tool: truth.judge(run) for tool, run in runs.items()}
            if any(found.missed or found.hidden or found.stale for found in judged.values()):
                again = self.truth()
                truth = truth if again is None else truth.steady(again)
                judged = {tool: truth.judge(run) for tool, run in runs.items()}
            judged = {tool: alone(self.checkout, self.plan, found) for tool, found in judged.items()}
        return {
            "status": "changed" if truth.failing else "same",
            "tests": len(self.before),
            "changed": len(truth.failing),
            **truth.as_json(),
            "tools": {tool: asdict(judgement) for tool, judgement in judged.items()} | taken,
        }

    def truth(self) -> Truth | None:
        """What plain pytest says of the tree as it is now; None when it hangs."""
        run = self.run("plain")
        if run.timed_out:
            return None
        passed = passing(run)
        unlike = (self.before.keys() | run.outcomes.keys()) - passed
        return Truth(changed(self.before, run), frozenset(unlike), passed, run.seconds)


def alone(checkout: Checkout, plan: Plan, found: Judgement) -> Judgement:
    """Try plainly what a tool missed, without the tests that it executed."""
    if not found.missed:
        return found
    checkout.forget()
    return set_apart(found, run_once(checkout, "plain", found.missed, 3 * plan.timeout))


def run_once(checkout: Checkout, tool: Tool, arguments: tuple[str, ...], timeout: float | None) -> Run:
    """Run once, with chance held still."""
    return run_pytest(checkout, tool, *ALWAYS, arguments=arguments or None, environment=STEADY, timeout=timeout)


def remember(checkout: Checkout, tool: Tool) -> None:
    """Keep a tool's state beside the tree."""
    for path in checkout.tree.glob(f"{STATE[tool]}*"):
        kept = checkout.scratch / f"warm{path.name}"
        if kept.is_dir():
            shutil.rmtree(kept)
        shutil.copytree(path, kept, dirs_exist_ok=True) if path.is_dir() else shutil.copy2(path, kept)


def restore(checkout: Checkout, tool: Tool) -> None:
    """Put a fresh copy of a tool's remembered state into the tree; plain runs have none."""
    if tool == "plain":
        return
    for kept in checkout.scratch.glob(f"warm{STATE[tool]}*"):
        path = checkout.tree / kept.name.removeprefix("warm")
        shutil.copytree(kept, path) if kept.is_dir() else shutil.copy2(kept, path)


def warm(suite: Suite, number: int, plan: Plan) -> Slot:
    """Make a slot: a fresh copy, two plain runs for what passes steadily, one recording run of each tool."""
    checkout = suite.checkout(f"soundness-{number}")
    shutil.rmtree(checkout.scratch)
    checkout.forget()
    baseline = agree(
        run_once(checkout, "plain", plan.arguments, None), run_once(checkout, "plain", plan.arguments, None)
    )
    warmed: list[Tool] = []
    for tool in plan.tools:
        checkout.forget()
        recorded = run_once(checkout, tool, plan.arguments, None)
        if recorded.returncode in {0, 1}:
            remember(checkout, tool)
            warmed.append(tool)
        elif tool == "perfcache":
            raise RuntimeError(f"the recording run failed, see {checkout.scratch / 'perfcache.log'}")
        else:
            print(f"{suite.spec.name}: {tool} is left out, it ends with {recorded.returncode}", flush=True)
    limit = max(plan.timeout, 10 * baseline.seconds)
    return Slot(checkout, Plan(plan.arguments, tuple(warmed), limit), baseline.outcomes)
