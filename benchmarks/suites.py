"""`python -m benchmarks suites`: plain outcomes, nothing run twice, the right tests after an edit?

For each suite: a plain run, a recording run (whose outcomes must be the same), a second run (which must
execute nothing without a reason), then for some functions, chosen by seed: a neutral statement is put into
the body, the tests that run are compared with those that the profile recorder saw entering the function, and the
edit is taken back.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.corpus import Suite, add_common_options, suites, version_of
from benchmarks.edits import edited, with_probe
from benchmarks.session import Checkout, Run, run_pytest
from benchmarks.tables import PAGE, percent, put, table
from benchmarks.truth import Target, choose, record_calls, targets
from benchmarks.uncacheable import kind_of


@dataclass(frozen=True, slots=True)
class Edit:
    """One edited function: tests that enter it, and how the cache's choice differs from them.

    `missed` should have run and did not; `beyond` ran without entering it, each with the cache's reason;
    `after_revert` ran although everything was as before.
    """

    function: str
    entering: int
    executed: int
    missed: list[str]
    beyond: dict[str, str]
    after_revert: dict[str, str]
    same_outcomes: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One suite; `differing` maps node ids to (plain outcome, recording outcome)."""

    suite: str
    tests: int
    differing: dict[str, tuple[str | None, str | None]]
    second: dict[str, str]
    second_differing: dict[str, tuple[str | None, str | None]]
    inconsistent: list[str]
    edits: list[Edit]


def differences(plain: Run, ours: Run, flaky: frozenset[str]) -> dict[str, tuple[str | None, str | None]]:
    """The tests whose outcomes differ, without those known to be flaky."""
    names = (plain.outcomes.keys() | ours.outcomes.keys()) - flaky
    pairs = {name: (plain.outcomes.get(name), ours.outcomes.get(name)) for name in sorted(names)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def reasons(run: Run) -> dict[str, str]:
    """Why each executed test ran, in the words of the plugin's report."""
    return {name: run.verdicts[name].reason if name in run.verdicts else "" for name in sorted(run.executed)}


def inconsistent(run: Run) -> list[str]:
    """Tests of which the report says something else than what the probe saw pytest do."""
    return sorted(
        name for name, verdict in run.verdicts.items() if (verdict.verdict == "run") != (name in run.executed)
    )


def try_edit(checkout: Checkout, target: Target, second: Run, flaky: frozenset[str]) -> Edit:
    """Edit one function, run, take the edit back, run again."""
    path = checkout.tree / target.path
    source = path.read_bytes().decode()
    with edited(path, with_probe(source, target.function).encode()):
        run = run_pytest(checkout, "perfcache")
    reverted = run_pytest(checkout, "perfcache")
    ran = reasons(run)
    return Edit(
        f"{target.path}::{target.function.qualname}",
        len(target.tests),
        len(run.executed),
        sorted(target.tests - run.executed),
        {name: reason for name, reason in ran.items() if name not in target.tests | second.executed},
        {name: reason for name, reason in reasons(reverted).items() if name not in second.executed},
        not differences(second, run, flaky),
    )


def examine(suite: Suite, count: int, seed: int, share: float) -> Result:
    """All steps for one suite in a fresh copy of its tree."""
    flaky = frozenset(suite.baseline().flaky)
    checkout = suite.checkout("suites")
    plain = run_pytest(checkout, "plain")
    chosen = choose(list(targets(checkout, record_calls(checkout), share)), count, seed)
    recording = run_pytest(checkout, "perfcache")
    second = run_pytest(checkout, "perfcache")
    result = Result(
        suite.spec.requirement,
        len(plain.outcomes),
        differences(plain, recording, flaky),
        reasons(second),
        differences(plain, second, flaky),
        inconsistent(second),
        [],
    )
    for target in chosen:
        result.edits.append(try_edit(checkout, target, second, flaky))
        print(f"  {summary_of(result.edits[-1])}", flush=True)
    return result


def summary_of(edit: Edit) -> str:
    """One edited function in one line."""
    return (
        f"{edit.function}: entered by {edit.entering}, {edit.executed} ran, {len(edit.missed)} missed, "
        f"{len(edit.beyond)} beyond, {len(edit.after_revert)} after the revert"
    )


def row(result: Result) -> tuple[str, ...]:
    """A suite's row of the table."""
    edits = result.edits
    return (
        result.suite,
        str(result.tests),
        str(len(result.differing)),
        str(len(result.second)),
        percent(len(result.second) / max(1, result.tests)),
        ", ".join(str(edit.entering) for edit in edits),
        ", ".join(str(edit.executed) for edit in edits),
        str(sum(len(edit.missed) for edit in edits)),
        str(sum(len(edit.beyond) for edit in edits)),
        str(sum(len(edit.after_revert) for edit in edits)),
    )


HEADER = (
    "suite",
    "tests",
    "outcomes unlike plain",
    "second run executes",
    "share",
    "tests entering each edited function",
    "executed after each edit",
    "missed",
    "beyond",
    "run after reverts",
)


def page(results: list[Result], python: str, command: str) -> str:
    """The section of the documentation page: command, table, and the second runs' reasons."""
    lines = [f"Made by `{command}` on Python {python}.", "", table(HEADER, map(row, results)), ""]
    lines.append("Why tests were executed in the second run:")
    lines.append("")
    for result in results:
        counted = Counter(map(kind_of, result.second.values())).most_common()
        told = "; ".join(f"{count} of {reason or 'no reason given'}" for reason, count in counted)
        lines.append(f"- {result.suite}: {told or 'none was'}.")
    return "\n".join(lines)


def shown(result: Result) -> dict[str, Any]:
    """A result as JSON data."""
    return asdict(result)


def main(arguments: list[str]) -> int:
    """Examine suites; the exit status is 1 when an outcome differs or a test was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks suites", description=__doc__)
    add_common_options(parser)
    parser.add_argument("--functions", type=int, default=3, help="edited functions per suite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--largest-share", type=float, default=0.3, help="of the tests that enter a function")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args(arguments)
    work, python = options.work.resolve(), version_of(options.python)
    results = []
    for suite in suites(work, options.python, options.suites):
        print(suite.spec.requirement, flush=True)
        results.append(examine(suite, options.functions, options.seed, options.largest_share))
    target = work / "results" / f"suites-py{python}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps([shown(result) for result in results], indent=1))
    text = page(results, python, f"python -m benchmarks suites --functions {options.functions} --seed {options.seed}")
    print(text)
    if options.write_docs:
        put(PAGE, "suites", text)
    wrong = any(result.differing or any(edit.missed for edit in result.edits) for result in results)
    print(f"details: {target}", file=sys.stderr)
    return int(wrong)
