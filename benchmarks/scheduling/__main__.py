"""`python -m benchmarks scheduling`: simulated makespans over the lower bound, suite by suite.

Beside the scheduler stand two greedy list schedules of the same draws that cost nothing and have only the end in mind,
where tests are independent: the longest first by expected durations, and by the true ones, which nobody knows before.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import NamedTuple

from benchmarks.scheduling.faults import random_run
from benchmarks.scheduling.simulator import Simulation, Suite, longest_first
from benchmarks.scheduling.suites import NOISE, SHAPES, make
from benchmarks.tables import REPOSITORY, put, table

WORKERS = (2, 4, 8, 16, 32, 64)
PAGE = REPOSITORY / "docs" / "explanation" / "scheduling.md"
HEADER = (
    "suite",
    "workers",
    "makespan / bound, mean",
    "worst",
    "half done at",
    "longest expected first",
    "longest true first",
)


class Draw(NamedTuple):
    """One simulated suite: makespans over the bound, and when half of the tests were done, as a share."""

    ratio: float
    half: float
    expected_first: float | None
    true_first: float | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print one row for each shape and number of workers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scheduling", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="suites a cell")
    parser.add_argument("--noise", type=float, default=NOISE, help="log-normal noise on durations")
    parser.add_argument("--workers", type=int, nargs="*", default=WORKERS)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--no-pause", action="store_true", help="hold a test behind each, as plain xdist must")
    parser.add_argument("--faults", type=int, default=0, metavar="N", help="instead, N random runs with faults")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args(arguments)
    if options.faults:
        check_faults(options.faults)
        return
    cells: dict[tuple[str, int], list[Draw]] = {}
    for shape in options.shapes:
        for workers in options.workers:
            suites = (make(shape, workers, seed, options.noise) for seed in range(options.seeds))
            cells[shape, workers] = [draw(suite, workers, can_pause=not options.no_pause) for suite in suites]
            print(" | ".join(row(shape, str(workers), cells[shape, workers])), flush=True)
    overall = [each for draws in cells.values() for each in draws]
    rows = [tuple(row(shape, str(workers), draws)) for (shape, workers), draws in cells.items()]
    text = table(HEADER, [*rows, tuple(row("all", "", overall))])
    print(f"\n{text}")
    if options.write_docs:
        command = f"python -m benchmarks scheduling --seeds {options.seeds}"
        put(PAGE, "simulated runs", f"Made by `{command}`, with {options.noise:.0%} noise.\n\n{text}")


def draw(suite: Suite, workers: int, *, can_pause: bool) -> Draw:
    """Simulate one suite."""
    bound = suite.lower_bound(workers)
    outcome = Simulation(suite, workers, can_pause=can_pause, check=False).run()
    expected = longest_first(suite, workers, {job.key: job.seconds for job in suite.jobs})
    true = longest_first(suite, workers, suite.truth)
    return Draw(
        outcome.makespan / bound,
        outcome.half / outcome.makespan,
        None if expected is None else expected / bound,
        None if true is None else true / bound,
    )


def row(shape: str, workers: str, draws: Sequence[Draw]) -> Iterator[str]:
    """Means over the draws of a cell."""
    ratios = [each.ratio for each in draws]
    yield from (shape, workers, f"{mean(ratios):.3f}", f"{max(ratios):.3f}")
    yield f"{mean(each.half for each in draws):.0%}"
    for reached in ([each.expected_first for each in draws], [each.true_first for each in draws]):
        known = [ratio for ratio in reached if ratio is not None]
        yield f"{mean(known):.3f}" if len(known) == len(draws) else ""


def check_faults(runs: int) -> None:
    """Random runs with crashes, `-x`, late and lost workers; raises InvariantError at the first fault."""
    outcomes = [random_run(seed) for seed in range(runs)]
    tests = sum(len(outcome.completed) for outcome in outcomes)
    blamed = sum(len(outcome.blamed) for outcome in outcomes)
    stopped = sum(outcome.stopped for outcome in outcomes)
    print(f"{runs} runs, {tests} tests, {blamed} crashes in a test, {stopped} runs stopped: invariants held")


if __name__ == "__main__":
    main()
