"""`python -m benchmarks.scheduling.real`: suites of sleeping tests with real workers, beside xdist's own.

Every cell holds the seconds of the best of some runs that alternate between the schedulers: other load on the
host can only add to it. In brackets the efficiency, which is the time that tests
slept over the time between a worker's first test and the end of the last one: start-up is set apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
PERFCACHE: Final = "perfcache"
SCHEDULERS: Final = (PERFCACHE, "load", "worksteal", "loadfile", "loadgroup")

TEST_MODULE: Final = """\
import os, time
import pytest

@pytest.mark.parametrize("index, seconds", {cases})
def test_sleep(index, seconds):
    start = time.monotonic()
    time.sleep(seconds)
    with open(os.environ["STAMPS"], "a", buffering=1) as file:
        file.write(f"{{os.getpid()}} {{start}} {{time.monotonic()}}\\n")
"""


def slow_last(random: Random, workers: int) -> list[list[float]]:
    """Many fast tests, and the slow ones in the last file."""
    fast = [[random.uniform(0.005, 0.03) for _ in range(25)] for _ in range(3 * workers)]
    return [*fast, [random.uniform(1.0, 2.0) for _ in range(workers + workers // 2)]]


def log_normal(random: Random, workers: int) -> list[list[float]]:
    """Durations over two orders of magnitude."""
    return [[min(3.0, random.lognormvariate(-2.5, 1.3)) for _ in range(10)] for _ in range(3 * workers)]


def few_huge(random: Random, workers: int) -> list[list[float]]:
    """Two huge, some large and many small tests."""
    small = [0.1] * (8 * workers)
    jobs = [3.0 + random.random(), 3.0, *[1.0] * (workers + 1), *small]
    random.shuffle(jobs)
    return [jobs[start::6] for start in range(6)]


SUITES: Final = {"slow tests last": slow_last, "log-normal": log_normal, "few huge": few_huge}


@dataclass(frozen=True, slots=True)
class Run:
    """Wall seconds of a whole run, and its efficiency without start-up."""

    seconds: float
    efficiency: float


def main() -> None:
    """Run all schedulers on all suites and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduling.real", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=(2, 4, 8))
    parser.add_argument("--suites", nargs="*", default=list(SUITES), choices=list(SUITES))
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print("| suite | workers | bound | " + " | ".join(SCHEDULERS) + " |")
    print("| --- | --- | --- |" + " --- |" * len(SCHEDULERS))
    for name in options.suites:
        for workers in options.workers:
            with TemporaryDirectory() as directory:
                print(_row(name, workers, options.repeat, Path(directory)), flush=True)


def _row(name: str, workers: int, repeat: int, directory: Path) -> str:
    modules = SUITES[name](Random(name), workers)
    flat = [seconds for module in modules for seconds in module]
    bound = max(sum(flat) / workers, *flat)
    write_suite(directory, modules)
    run_suite(directory, workers, "load")  # compiles the test files, so that no scheduler pays for it
    runs: defaultdict[str, list[Run]] = defaultdict(list)
    for _ in range(repeat):
        for scheduler in SCHEDULERS:
            runs[scheduler].append(run_suite(directory, workers, scheduler))
    cells = [_cell(runs[scheduler]) for scheduler in SCHEDULERS]
    return f"| {name} | {workers} | {bound:.1f} | {' | '.join(cells)} |"


def _cell(runs: Sequence[Run]) -> str:
    return f"{min(run.seconds for run in runs):.1f} ({max(run.efficiency for run in runs):.2f})"


def write_suite(directory: Path, modules: Sequence[Sequence[float]]) -> None:
    """A test file for each list of seconds, and what is known of their durations."""
    estimates: dict[str, float] = {}
    for number, module in enumerate(modules):
        cases = [(index, round(seconds, 4)) for index, seconds in enumerate(module)]
        file = f"test_{number}.py"
        (directory / file).write_text(TEST_MODULE.format(cases=cases))
        estimates |= {f"{file}::test_sleep[{index}-{seconds}]": seconds for index, seconds in cases}
    (directory / "estimates.json").write_text(json.dumps(estimates))
    (directory / "pytest.ini").write_text("[pytest]\n")


def run_suite(directory: Path, workers: int, scheduler: str) -> Run:
    """One run; raises CalledProcessError when a test failed."""
    stamps = directory / "stamps.txt"
    stamps.write_text("")
    own = scheduler == PERFCACHE
    options = ["-p", "benchmarks.scheduling.wired"] if own else ["--dist", scheduler]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:perfcache", "-n", str(workers), *options]
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(ROOT), "STAMPS": str(stamps)}
    start = time.monotonic()
    subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)
    return Run(time.monotonic() - start, _efficiency(stamps.read_text().splitlines()))


def _efficiency(lines: Sequence[str]) -> float:
    spans = [(pid, float(start), float(end)) for pid, start, end in map(str.split, lines)]
    first: dict[str, float] = {}
    for pid, start, _ in spans:
        first[pid] = min(start, first.get(pid, start))
    last = max(end for _, _, end in spans)
    return sum(end - start for _, start, end in spans) / sum(last - start for start in first.values())


if __name__ == "__main__":
    main()
