"""`python -m benchmarks recording`: what recording costs, measured in pairs.

Each round runs a suite plainly and recording, one right after the other and in random order, on the same copy and from
empty caches of tools. A machine's speed drifts by more than the difference over the minutes that the ways of `timing`
take; within a pair it hardly does. The first round only warms up.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.corpus import Suite, add_common_options, suites, version_of
from benchmarks.session import Tool, run_pytest
from benchmarks.tables import PAGE, put, table
from benchmarks.timing import CrashedError

if TYPE_CHECKING:
    from collections.abc import Sequence

WAYS: tuple[Tool, ...] = ("plain", "perfcache")
HEADER = ("suite", "tests", "plain, s", "recording, s", "over plain", "lowest", "highest", "ms more a test")


@dataclass(frozen=True, slots=True)
class Pairs:
    """One suite's wall times (seconds): plain and recording by round."""

    suite: str
    tests: int
    seconds: tuple[tuple[float, float], ...]

    @property
    def ratios(self) -> list[float]:
        """Recording over plain, ascending."""
        return sorted(recording / plain for plain, recording in self.seconds)

    @property
    def slowed(self) -> float:
        """Milliseconds that recording adds to each test, start and end of the run included: the median."""
        return median(recording - plain for plain, recording in self.seconds) * 1000 / self.tests

    def row(self) -> tuple[str, ...]:
        """The cells of the table, in the order of its header."""
        plain, recording = (median(pair[at] for pair in self.seconds) for at in (0, 1))
        ratios = self.ratios
        found = (median(ratios), ratios[0], ratios[-1])
        told = (f"{plain:.1f}", f"{recording:.1f}", *(f"{ratio:.2f}" for ratio in found), f"{self.slowed:.1f}")
        return (self.suite, str(self.tests), *told)


def measure(suite: Suite, rounds: int, order: random.Random) -> Pairs:
    """Measure one suite in a fresh copy; tests that fail plainly are left out."""
    checkout = suite.checkout("recording")
    baseline = suite.baseline()
    left_out = [f"--deselect={nodeid}" for nodeid in baseline.failing]
    pairs: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        seconds: dict[Tool, float] = {}
        for tool in order.sample(WAYS, len(WAYS)):
            checkout.forget()
            run = run_pytest(checkout, tool, *left_out, probes=())
            if run.returncode not in {0, 1}:
                raise CrashedError(f"pytest ended with {run.returncode}: {checkout.scratch / f'{tool}.log'}")
            seconds[tool] = run.seconds
        if number:
            pairs.append((seconds["plain"], seconds["perfcache"]))
            print(f"  {number}: {seconds['plain']:.2f} s, {seconds['perfcache']:.2f} s", flush=True)
    return Pairs(suite.spec.requirement, len(baseline.outcomes) - len(left_out), tuple(pairs))


def section(found: Sequence[Pairs], python: str, rounds: int) -> str:
    """The section of the documentation page."""
    made = f"Made by `python -m benchmarks recording --rounds {rounds}` on Python {python}: medians of pairs."
    return "\n".join([made, "", table(HEADER, [pairs.row() for pairs in found])])


def main(arguments: list[str]) -> int:
    """Measure suites and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks recording", description=__doc__)
    add_common_options(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args(arguments)
    order, found = random.Random(options.seed), []
    for suite in suites(options.work.resolve(), options.python, options.suites):
        print(suite.spec.requirement, flush=True)
        found.append(measure(suite, options.rounds, order))
    python = version_of(options.python)
    text = section(found, python, options.rounds)
    print(text)
    if options.write_docs:
        put(PAGE, "recording" if python == "3.11" else f"recording on {python}", text)
    return 0
