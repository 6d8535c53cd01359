"""`python -m benchmarks.scheduling`: makespan over the lower bound, suite by suite."""

from __future__ import annotations

import argparse
from statistics import mean

from benchmarks.scheduling.faults import random_run
from benchmarks.scheduling.simulator import Simulation
from benchmarks.scheduling.suites import NOISE, SHAPES, make

WORKERS = (2, 4, 8, 16, 32, 64)


def main() -> None:
    """Simulate and print one row for each shape and number of workers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduling", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="suites a cell")
    parser.add_argument("--noise", type=float, default=NOISE, help="log-normal noise on durations")
    parser.add_argument("--workers", type=int, nargs="*", default=WORKERS)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--no-pause", action="store_true", help="hold a test behind each, as plain xdist must")
    parser.add_argument("--faults", type=int, default=0, metavar="N", help="instead, N random runs with faults")
    options = parser.parse_args()
    if options.faults:
        check_faults(options.faults)
        return
    print("| suite | workers | makespan / bound, mean | worst | half done at |")
    print("| --- | --- | --- | --- | --- |")
    overall: list[float] = []
    for shape in options.shapes:
        for workers in options.workers:
            ratios, halves = [], []
            for seed in range(options.seeds):
                suite = make(shape, workers, seed, options.noise)
                outcome = Simulation(suite, workers, can_pause=not options.no_pause, check=False).run()
                ratios.append(outcome.makespan / suite.lower_bound(workers))
                halves.append(outcome.half / outcome.makespan)
            overall += ratios
            print(
                f"| {shape} | {workers} | {mean(ratios):.3f} | {max(ratios):.3f} | {mean(halves):.0%} |",
                flush=True,
            )
    print(f"| all | | {mean(overall):.3f} | {max(overall):.3f} | |")


def check_faults(runs: int) -> None:
    """Random runs with crashes, `-x`, late and lost workers; raises InvariantError at the first fault."""
    outcomes = [random_run(seed) for seed in range(runs)]
    tests = sum(len(outcome.completed) for outcome in outcomes)
    blamed = sum(len(outcome.blamed) for outcome in outcomes)
    stopped = sum(outcome.stopped for outcome in outcomes)
    print(f"{runs} runs, {tests} tests, {blamed} crashes in a test, {stopped} runs stopped: invariants held")


if __name__ == "__main__":
    main()
