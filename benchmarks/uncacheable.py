"""`python -m benchmarks uncacheable`: which share of each suite's tests can not be cached, and why.

For each suite: a recording run and a second run of the unchanged tree in a fresh copy. Tests that the second run
executes are counted by reason. What did not pass (skipped, failed, expected to fail) left nothing to cache, and is
counted apart.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from benchmarks.corpus import Suite, add_common_options, suites, version_of
from benchmarks.session import Run, run_pytest
from benchmarks.tables import PAGE, percent, put, table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NOTHING = ("failed last time", "not a clean pass last time")
PROGRAM = "starts a program"
HEADER = ("suite", "tests", "did not pass", "executed again", "share", "reasons")


@dataclass(frozen=True, slots=True)
class Account:
    """One suite's second run: how many tests there are, and how many were executed for each reason."""

    suite: str
    tests: int
    nothing: dict[str, int]
    uncacheable: dict[str, int]

    @property
    def share(self) -> float:
        """The share of all tests that passed and were executed again all the same."""
        return sum(self.uncacheable.values()) / max(1, self.tests)


def kind_of(reason: str) -> str:
    """A reason without what differs from machine to machine: paths, arguments, names of tests.

    >>> kind_of("not cacheable: starts a program: sed -i s/a/b/ /tmp/x1")
    'starts a program: sed'
    >>> kind_of("not cacheable: reads data/x.json, which tests/test_a.py::test_1 wrote")
    'reads a file that another test wrote'
    """
    verdict, _, detail = reason.partition(": ")
    if verdict != "not cacheable":
        return reason if verdict in NOTHING else verdict
    what, _, rest = detail.partition(": ")
    if rest and not what.startswith(PROGRAM):
        return f"in a child: {kind_of(f'{verdict}: {rest}')}"
    if what.startswith(PROGRAM):
        return f"{what}: {PurePath(rest.split()[0]).name if rest.split() else 'unknown'}"
    for verb, told in (
        ("reads ", "reads a file that another test wrote"),
        ("connects to ", "connects to a server"),
        ("looks up ", "looks up a name on the network"),
    ):
        if what.startswith(verb):
            return told
    return what


def account(name: str, run: Run) -> Account:
    """Count what a second run executed."""
    kinds = Counter(
        kind_of(run.verdicts[nodeid].reason if nodeid in run.verdicts else "not reported") for nodeid in run.executed
    )
    ordered = dict(sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0])))
    nothing = {kind: count for kind, count in ordered.items() if kind.startswith(NOTHING)}
    rest = {kind: count for kind, count in ordered.items() if kind not in nothing}
    return Account(name, len(run.outcomes), nothing, rest)


def examine(suite: Suite) -> Account:
    """Record in a fresh copy, then see what an unchanged run executes."""
    checkout = suite.checkout("uncacheable")
    run_pytest(checkout, "perfcache")
    return account(suite.spec.requirement, run_pytest(checkout, "perfcache"))


def told(counts: dict[str, int]) -> str:
    """Counts in words."""
    return ", ".join(f"{kind} {count}" for kind, count in counts.items()) or "-"


def row(one: Account) -> tuple[str, ...]:
    """A suite's row of the table."""
    executed = sum(one.uncacheable.values())
    return (
        one.suite,
        str(one.tests),
        str(sum(one.nothing.values())),
        str(executed),
        percent(one.share),
        told(one.uncacheable),
    )


def together(accounts: Iterable[Account]) -> Account:
    """All suites as one."""
    every = list(accounts)
    nothing, uncacheable = Counter[str](), Counter[str]()
    for one in every:
        nothing.update(one.nothing)
        uncacheable.update(one.uncacheable)
    return Account("all", sum(one.tests for one in every), dict(nothing), dict(uncacheable.most_common()))


def page(accounts: list[Account], python: str) -> str:
    """The section of the documentation page."""
    ordered = sorted(accounts, key=lambda one: one.suite)
    rows = map(row, (*ordered, together(ordered)))
    return f"Made by `python -m benchmarks uncacheable` on Python {python}.\n\n{table(HEADER, rows)}"


def load(path: Path) -> dict[str, Account]:
    """The accounts written so far, by suite."""
    found = json.loads(path.read_text()) if path.exists() else []
    return {one["suite"]: Account(**one) for one in found}


def main(arguments: list[str]) -> int:
    """Examine the named suites, keep earlier results of others, print the table of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks uncacheable", description=__doc__)
    add_common_options(parser)
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    parser.add_argument("--only-table", action="store_true", help="run nothing, print the results of before")
    options = parser.parse_args(arguments)
    work, python = options.work.resolve(), version_of(options.python)
    target = work / "results" / f"uncacheable-py{python}.json"
    target.parent.mkdir(exist_ok=True)
    known = load(target)
    for suite in () if options.only_table else suites(work, options.python, options.suites):
        found = examine(suite)
        print(f"{found.suite}: {percent(found.share)}; {told(found.uncacheable)}", flush=True)
        known[found.suite] = found
        target.write_text(json.dumps([asdict(one) for one in known.values()], indent=1))
    text = page(list(known.values()), python)
    print(text)
    if options.write_docs:
        put(PAGE, "uncacheable", text)
    return 0
